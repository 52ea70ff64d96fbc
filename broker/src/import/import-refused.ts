/** Why a directory is not imported: the message names what to look at. Nothing was changed, and nothing half made is left. */
export class ImportRefused extends Error {
  override readonly name = "ImportRefused";
  constructor(message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
  }
}
