// Where the admin API listens and who may use it. The token never enters Config, so nothing that shows a configuration
// can show it. The command line asks once, for the node it starts and for the node it calls.

import { utf8 } from "../base/bytes.ts";
import { ConfigError } from "../base/errors.ts";
import type { Config } from "./schema.ts";
import { hostPortOf } from "./setting.ts";
import { readUserFile } from "./user_file.ts";

/** Where a token may come from. */
export interface TokenSources {
  readonly env: (name: string) => string | undefined;
  /** A small file's content, `null` when there is none. */
  readonly readFile: (path: string) => Uint8Array | null;
}

/** Where to listen; `token` is `null` when anyone on this host may call. */
export interface AdminAccess {
  readonly hostname: string;
  readonly port: number;
  readonly token: string | null;
}

/** Environment variable with the token itself. */
export const TOKEN_VARIABLE = "TWINLOG_ADMIN_TOKEN";

/**
 * The address and token of a node's admin API, `null` when it is left out. Throws {@link ConfigError} for a token that
 * can't be read, and for an address beyond loopback without one.
 */
export function adminAccess(
  config: Pick<Config, "adminAddress" | "adminTokenFile">,
  sources: TokenSources,
): AdminAccess | null {
  if (config.adminAddress === null) return null;
  const { hostname, port } = hostPortOf(config.adminAddress, "adminAddress");
  const token = readAdminToken(config.adminTokenFile, sources);
  if (token === null && !isLoopback(hostname)) {
    throw new ConfigError(
      `adminAddress is ${config.adminAddress}, which other hosts reach, and there is no token, wanted --admin-token-file or ${TOKEN_VARIABLE}`,
    );
  }
  return { hostname, port, token };
}

/** The token of the file when one is named, else of the environment, else `null`. Throws {@link ConfigError}. */
export function readAdminToken(file: string | null, sources: TokenSources): string | null {
  if (file === null) {
    const value = sources.env(TOKEN_VARIABLE) ?? "";
    return value === "" ? null : checkToken(value.trim(), `Environment variable ${TOKEN_VARIABLE}`);
  }
  const bytes = readUserFile(sources.readFile, "Admin token file", file);
  return checkToken(utf8.decode(bytes).trim(), `Admin token file "${file}"`);
}

function checkToken(token: string, what: string): string {
  if (/^[\x21-\x7e]{8,1024}$/.test(token)) return token;
  throw new ConfigError(
    `${what} holds ${token.length} characters, wanted 8 to 1024 printable ASCII characters without blanks`,
  );
}

/** Whether an address, as given, is reached from this host only. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" || /^127(\.\d{1,3}){3}$/.test(hostname);
}
