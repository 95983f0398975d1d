// PEM files that the configuration names, read and looked at. What is in them is the TLS engine's matter.

import { utf8 } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import { readUserFile } from "./user_file.ts";

/** What a file has to hold. */
export type PemLabel = "CERTIFICATE" | "PRIVATE KEY";

/** The text of the file that `key` names. Throws {@link ConfigError} when it is not there, can't be read or holds no such PEM. */
export function readPem(
  key: string,
  path: string,
  label: PemLabel,
  readFile: (path: string) => Uint8Array | null,
): string {
  const bytes = readUserFile(readFile, key, path);
  const pem = utf8.decode(bytes);
  if (new RegExp(`-----BEGIN [A-Z ]*${label}-----`).test(pem)) return pem;
  throw new ConfigError(`${key} "${path}" holds no PEM ${label.toLowerCase()}`);
}
