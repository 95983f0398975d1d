// Certificates of the TLS tests (tests/fixtures/tls), and a Net whose every connection is encrypted.

import * as fs from "node:fs";
import { fileURLToPath } from "node:url";
import type { Net, TlsIdentity } from "../../src/runtime/runtime.ts";

/** Path of a file in tests/fixtures/tls. */
export function tlsPath(name: string): string {
  return fileURLToPath(new URL(`../fixtures/tls/${name}`, import.meta.url));
}

/** `master`, `slave`, `stranger` (of another CA) or `expired`. */
export function tlsIdentity(name: string, ca = "ca"): TlsIdentity {
  const read = (file: string) => fs.readFileSync(tlsPath(file), "utf8");
  return { cert: read(`${name}.crt`), key: read(`${name}.key`), ca: read(`${ca}.crt`) };
}

/** `net` with TLS on every listener and connection. */
export function tlsNet(net: Net): Net {
  return {
    listen: (options) =>
      net.listen({ ...options, tls: { identity: tlsIdentity("master"), admits: () => true, onRefused: () => {} } }),
    connect: (options) => net.connect({ ...options, tls: tlsIdentity("slave") }),
    tlsServer: (options) => net.tlsServer(options),
  };
}
