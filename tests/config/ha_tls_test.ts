import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { ConfigError } from "../../src/base/errors.ts";
import { haTlsIdentity } from "../../src/config/ha_tls.ts";
import { createConfig, loadConfig } from "../../src/config/load.ts";

const HOST = { hostname: "h", localAddress: "10.0.0.1", env: () => undefined };
const FILES: Record<string, string> = {
  "/cert": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
  "/key": "-----BEGIN EC PRIVATE KEY-----\nx\n-----END EC PRIVATE KEY-----\n",
};
const readFile = (path: string) => {
  if (path === "/forbidden") throw new Error("EACCES");
  return FILES[path] === undefined ? null : utf8.encode(FILES[path]);
};
const NAMED = { haTlsEnable: true, haTlsCertFile: "/cert", haTlsKeyFile: "/key", haTlsCaFile: "/cert" };

describe("haTlsIdentity", () => {
  it("reads three files, and none while TLS is off", () => {
    assert.equal(haTlsIdentity({ ...NAMED, haTlsEnable: false, haTlsCaFile: null }, readFile), null);
    assert.deepEqual(haTlsIdentity(NAMED, readFile), {
      cert: FILES["/cert"],
      key: FILES["/key"],
      ca: FILES["/cert"],
    });
  });

  it("says which key is wrong, and how", () => {
    const cases: [Partial<typeof NAMED> | { haTlsCaFile: null }, string][] = [
      [{ haTlsCaFile: null }, "haTlsEnable is true and haTlsCaFile is not set, wanted the path of a PEM file"],
      [{ haTlsCertFile: "/none" }, 'haTlsCertFile "/none" does not exist'],
      [
        { haTlsKeyFile: "/forbidden" },
        'haTlsKeyFile "/forbidden" can\'t be read (EACCES), wanted a file that this user may read',
      ],
      [{ haTlsKeyFile: "/cert" }, 'haTlsKeyFile "/cert" holds no PEM private key'],
      [{ haTlsCertFile: "/key" }, 'haTlsCertFile "/key" holds no PEM certificate'],
    ];
    for (const [change, message] of cases) {
      assert.throws(
        () => haTlsIdentity({ ...NAMED, ...change }, readFile),
        (error) => error instanceof ConfigError && error.message === message,
        message,
      );
    }
  });
});

describe("lists of networks in the configuration", () => {
  it("are checked when given, and unset by nothing", () => {
    const { config } = createConfig({ haAllowedPeers: "10.0.0.0/8, fd00::/8" }, HOST);
    assert.equal(config.haAllowedPeers, "10.0.0.0/8, fd00::/8");
    assert.equal(createConfig({}, HOST).config.remotingAllowedPeers, null);
    assert.throws(
      () => loadConfig({ host: HOST, flags: new Map([["haAllowedPeers", "10.0.0.0/40"]]) }),
      /--ha-allowed-peers is "10\.0\.0\.0\/40", wanted networks like/,
    );
  });
});
