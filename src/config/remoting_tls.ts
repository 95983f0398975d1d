// TLS of the remoting ports, read from the files that the configuration names. The key never enters Config, so nothing that
// shows a configuration can show it.

import { ConfigError } from "../base/errors.ts";
import type { TlsClientOptions, TlsServerOptions } from "../runtime/runtime.ts";
import { type PemLabel, readPem } from "./pem_file.ts";
import type { Config } from "./schema.ts";

/** The keys it reads. */
export type RemotingTlsConfig = Pick<
  Config,
  "tlsServerMode" | "tlsServerCertPath" | "tlsServerKeyPath" | "tlsServerTrustCertPath" | "tlsServerNeedClientAuth"
>;

/**
 * Mode and identity for `RemotingServer`; the identity is `null` without `tlsServerCertPath` (making a certificate up, as
 * Apache does, takes a library that writes X.509) and with mode `disabled`. Throws {@link ConfigError} for a combination
 * that lets nobody in or protects nothing, and for a file that is not there, can't be read or holds no PEM of its kind.
 */
export function remotingTls(
  config: RemotingTlsConfig,
  readFile: (path: string) => Uint8Array | null,
): { readonly mode: RemotingTlsConfig["tlsServerMode"]; readonly identity: TlsServerOptions | null } {
  const { tlsServerMode: mode, tlsServerNeedClientAuth: clientAuth } = config;
  if (mode === "disabled") return { mode, identity: null };
  const read = (key: "tlsServerCertPath" | "tlsServerKeyPath" | "tlsServerTrustCertPath", label: PemLabel): string => {
    const path = config[key];
    if (path === null) throw new ConfigError(`${key} is not set, wanted the path of a PEM file`);
    return readPem(key, path, label, readFile);
  };
  if (config.tlsServerCertPath === null) {
    if (mode === "enforcing") read("tlsServerCertPath", "CERTIFICATE");
    if (config.tlsServerKeyPath !== null) read("tlsServerCertPath", "CERTIFICATE");
    return { mode, identity: null };
  }
  const ca = config.tlsServerTrustCertPath === null && clientAuth !== "require"
    ? null
    : read("tlsServerTrustCertPath", "CERTIFICATE");
  const cert = read("tlsServerCertPath", "CERTIFICATE");
  return { mode, identity: { cert, key: read("tlsServerKeyPath", "PRIVATE KEY"), ca, clientAuth } };
}

/** The keys {@link remotingClientTls} reads. */
export type RemotingClientTlsConfig = Pick<
  Config,
  "tlsEnable" | "tlsClientTrustCertPath" | "tlsClientCertPath" | "tlsClientKeyPath"
>;

/** What `RemotingClient` shows and trusts, `null` while `tlsEnable` is off. Throws as {@link remotingTls}. */
export function remotingClientTls(
  config: RemotingClientTlsConfig,
  readFile: (path: string) => Uint8Array | null,
): TlsClientOptions | null {
  if (!config.tlsEnable) return null;
  const { tlsClientCertPath, tlsClientKeyPath, tlsClientTrustCertPath } = config;
  if ((tlsClientCertPath === null) !== (tlsClientKeyPath === null)) {
    const key = tlsClientCertPath === null ? "tlsClientCertPath" : "tlsClientKeyPath";
    throw new ConfigError(`${key} is not set, wanted the path of a PEM file`);
  }
  const read = (key: string, path: string | null, label: PemLabel): string | null =>
    path === null ? null : readPem(key, path, label, readFile);
  return {
    cert: read("tlsClientCertPath", tlsClientCertPath, "CERTIFICATE"),
    key: read("tlsClientKeyPath", tlsClientKeyPath, "PRIVATE KEY"),
    ca: read("tlsClientTrustCertPath", tlsClientTrustCertPath, "CERTIFICATE"),
  };
}
