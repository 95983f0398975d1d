// Files that a person names in flags or in a configuration: one clear line for each way in which they can't be read. What is
// in them is the caller's matter.

import { ConfigError, errorMessage, IoError } from "../base/errors.ts";

/**
 * The content of a small file; `what` begins the message. Throws {@link ConfigError} when it is not there, no file, or not
 * to be read.
 */
export function readUserFile(readFile: (path: string) => Uint8Array | null, what: string, path: string): Uint8Array {
  let bytes: Uint8Array | null;
  try {
    bytes = readFile(path);
  } catch (error) {
    const code = error instanceof IoError ? error.code ?? error.kind : errorMessage(error);
    const seen = code === "EISDIR" ? "is a directory" : `can't be read (${code})`;
    throw new ConfigError(`${what} "${path}" ${seen}, wanted a file that this user may read`, { cause: error });
  }
  if (bytes === null) throw new ConfigError(`${what} "${path}" does not exist`);
  return bytes;
}
