/**
 * A message holds what the chosen version of its API cannot say, and leaving it out would change its meaning. This is
 * a mistake of the caller, who picked the version; nothing was sent.
 */
export class UnsupportedFieldVersion extends Error {
  override readonly name = "UnsupportedFieldVersion";
  readonly code = "UNSUPPORTED_FIELD_VERSION";
}

/** Generated writers end here when a field that matters does not exist in `version`. */
export function failUnsupported(message: string, field: string, version: number): never {
  throw new UnsupportedFieldVersion(
    `${message} v${version} has no field ${field}, which is set to more than its default`,
  );
}

/** The value, in a version in which the field may not be null. */
export function notNull<T>(value: T | null, message: string, field: string, version: number): T {
  if (value === null) throw new UnsupportedFieldVersion(`${field} may not be null in ${message} v${version}`);
  return value;
}

/** Generated readers and writers begin here when a version is asked for that the declaration does not have. */
export function failVersion(message: string, version: number): never {
  throw new UnsupportedFieldVersion(`${message} has no version ${version}`);
}
