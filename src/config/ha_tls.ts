// The identity that a node shows under `haTlsEnable`, read from the three files that the configuration names. The key never
// enters Config, so nothing that shows a configuration can show it.

import { ConfigError } from "../base/errors.ts";
import type { TlsIdentity } from "../runtime/runtime.ts";
import { type PemLabel, readPem } from "./pem_file.ts";
import type { Config } from "./schema.ts";

/** The keys it reads. */
export type TlsConfig = Pick<Config, "haTlsEnable" | "haTlsCertFile" | "haTlsKeyFile" | "haTlsCaFile">;

/**
 * The identity, `null` while `haTlsEnable` is off. Throws {@link ConfigError} for a file that is not named, not there,
 * can't be read or holds no PEM of its kind. Whether certificate and key belong together shows when listening.
 */
export function haTlsIdentity(config: TlsConfig, readFile: (path: string) => Uint8Array | null): TlsIdentity | null {
  if (!config.haTlsEnable) return null;
  const read = (key: "haTlsCertFile" | "haTlsKeyFile" | "haTlsCaFile", label: PemLabel): string => {
    const path = config[key];
    if (path === null) {
      throw new ConfigError(`haTlsEnable is true and ${key} is not set, wanted the path of a PEM file`);
    }
    return readPem(key, path, label, readFile);
  };
  return {
    cert: read("haTlsCertFile", "CERTIFICATE"),
    key: read("haTlsKeyFile", "PRIVATE KEY"),
    ca: read("haTlsCaFile", "CERTIFICATE"),
  };
}
