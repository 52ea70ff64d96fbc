import {
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  ConfigResourceTypes,
  ResourcePatternTypes,
} from "./enums.ts";
import { KafkaJSNonRetriableError } from "./errors.ts";

/** What an admin call takes, looked at before anything is sent. All throw KafkaJSNonRetriableError, naming the argument. */

export function checkName(what: string, value: unknown): void {
  if (typeof value !== "string" || value === "")
    throw new KafkaJSNonRetriableError(`Invalid ${what}: ${JSON.stringify(value)} is no name`);
}

export function checkArray(what: string, values: unknown): asserts values is readonly unknown[] {
  if (!Array.isArray(values))
    throw new KafkaJSNonRetriableError(`Invalid ${what}: ${JSON.stringify(values)} is no array`);
}

export function checkFilled(what: string, values: unknown): asserts values is readonly unknown[] {
  checkArray(what, values);
  if (values.length === 0) throw new KafkaJSNonRetriableError(`Invalid ${what}: the array is empty`);
}

/** Named things of an array, each once. */
export function checkNamed(what: string, items: unknown, nameOf: (item: never) => unknown): void {
  checkArray(what, items);
  const names = new Set<unknown>();
  for (const item of items) {
    const name = nameOf(item as never);
    checkName(`${what}, a topic`, name);
    if (names.has(name)) throw new KafkaJSNonRetriableError(`Invalid ${what}: ${String(name)} comes twice`);
    names.add(name);
  }
}

export function checkConfigEntries(what: string, entries: unknown): void {
  checkArray(`configEntries of ${what}`, entries);
  for (const entry of entries) {
    const { name, value } = (entry ?? {}) as { readonly name?: unknown; readonly value?: unknown };
    if (typeof name !== "string" || typeof value !== "string")
      throw new KafkaJSNonRetriableError(
        `Invalid configEntries of ${what}: name and value are text: ${JSON.stringify(entry)}`,
      );
  }
}

export function checkConfigResources(resources: unknown): void {
  checkFilled("resources", resources);
  for (const resource of resources) {
    const { type, name } = resource as { readonly type?: unknown; readonly name?: unknown };
    checkEnum("resource type", type, ConfigResourceTypes);
    checkName("resource name", name);
  }
}

export function checkAcl(acl: {
  readonly resourceType: number;
  readonly resourcePatternType: number;
  readonly operation: number;
  readonly permissionType: number;
}): void {
  checkEnum("operation type", acl.operation, AclOperationTypes);
  checkEnum("resource pattern type", acl.resourcePatternType, ResourcePatternTypes);
  checkEnum("permission type", acl.permissionType, AclPermissionTypes);
  checkEnum("resource type", acl.resourceType, AclResourceTypes);
}

/** Where it may be left out. */
export function checkTexts(
  values: { readonly principal?: unknown; readonly host?: unknown; readonly resourceName?: unknown },
  { areRequired }: { readonly areRequired: boolean },
): void {
  for (const name of ["principal", "host", "resourceName"] as const) {
    const value = values[name];
    if (typeof value !== "string" && (areRequired || value !== undefined))
      throw new KafkaJSNonRetriableError(`Invalid ${name}: ${JSON.stringify(value)} is no text`);
  }
}

function checkEnum(what: string, value: unknown, known: Readonly<Record<string, number>>): void {
  if (Object.values(known).includes(value as number)) return;
  throw new KafkaJSNonRetriableError(`Invalid ${what}: ${JSON.stringify(value)}`);
}
