import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { ConfigError } from "../../src/base/errors.ts";
import { createConfig } from "../../src/config/load.ts";
import { remotingClientTls, remotingTls, type RemotingTlsConfig } from "../../src/config/remoting_tls.ts";

const FILES: Record<string, string> = {
  "/cert": "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
  "/ca": "-----BEGIN CERTIFICATE-----\ny\n-----END CERTIFICATE-----\n",
  "/key": "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n",
};
const readFile = (path: string) => FILES[path] === undefined ? null : utf8.encode(FILES[path]);
const NONE: RemotingTlsConfig = {
  tlsServerMode: "permissive",
  tlsServerCertPath: null,
  tlsServerKeyPath: null,
  tlsServerTrustCertPath: null,
  tlsServerNeedClientAuth: "none",
};
const NAMED: RemotingTlsConfig = { ...NONE, tlsServerCertPath: "/cert", tlsServerKeyPath: "/key" };

describe("remotingTls", () => {
  it("reads what is named, and nothing where TLS is off or has no certificate", () => {
    assert.deepEqual(remotingTls(NONE, readFile), { mode: "permissive", identity: null });
    assert.deepEqual(remotingTls({ ...NAMED, tlsServerMode: "disabled", tlsServerKeyPath: "/none" }, readFile), {
      mode: "disabled",
      identity: null,
    });
    const identity = { cert: FILES["/cert"], key: FILES["/key"], ca: null, clientAuth: "none" };
    assert.deepEqual(remotingTls(NAMED, readFile), { mode: "permissive", identity });
    assert.deepEqual(
      remotingTls({
        ...NAMED,
        tlsServerMode: "enforcing",
        tlsServerTrustCertPath: "/ca",
        tlsServerNeedClientAuth: "require",
      }, readFile),
      { mode: "enforcing", identity: { ...identity, ca: FILES["/ca"], clientAuth: "require" } },
    );
  });

  it("says which key is wrong, and how", () => {
    const cases: [Partial<RemotingTlsConfig>, string][] = [
      [{ tlsServerCertPath: null }, "tlsServerCertPath is not set, wanted the path of a PEM file"],
      [
        { tlsServerCertPath: null, tlsServerKeyPath: null, tlsServerMode: "enforcing" },
        "tlsServerCertPath is not set, wanted the path of a PEM file",
      ],
      [{ tlsServerKeyPath: null }, "tlsServerKeyPath is not set, wanted the path of a PEM file"],
      [{ tlsServerNeedClientAuth: "require" }, "tlsServerTrustCertPath is not set, wanted the path of a PEM file"],
      [{ tlsServerKeyPath: "/none" }, 'tlsServerKeyPath "/none" does not exist'],
      [{ tlsServerCertPath: "/key" }, 'tlsServerCertPath "/key" holds no PEM certificate'],
      [{ tlsServerTrustCertPath: "/key" }, 'tlsServerTrustCertPath "/key" holds no PEM certificate'],
    ];
    for (const [change, message] of cases) {
      assert.throws(
        () => remotingTls({ ...NAMED, ...change }, readFile),
        (error) => error instanceof ConfigError && error.message === message,
        message,
      );
    }
  });
});

describe("remotingClientTls", () => {
  const none = { tlsEnable: true, tlsClientTrustCertPath: null, tlsClientCertPath: null, tlsClientKeyPath: null };

  it("reads what is named; without a CA any certificate will do, as in Apache", () => {
    assert.equal(remotingClientTls({ ...none, tlsEnable: false, tlsClientTrustCertPath: "/none" }, readFile), null);
    assert.deepEqual(remotingClientTls(none, readFile), { cert: null, key: null, ca: null });
    assert.deepEqual(
      remotingClientTls({
        tlsEnable: true,
        tlsClientTrustCertPath: "/ca",
        tlsClientCertPath: "/cert",
        tlsClientKeyPath: "/key",
      }, readFile),
      { cert: FILES["/cert"], key: FILES["/key"], ca: FILES["/ca"] },
    );
  });

  it("says which key is missing", () => {
    assert.throws(
      () => remotingClientTls({ ...none, tlsClientCertPath: "/cert" }, readFile),
      /tlsClientKeyPath is not/,
    );
    assert.throws(() => remotingClientTls({ ...none, tlsClientKeyPath: "/key" }, readFile), /tlsClientCertPath is not/);
    assert.throws(() => remotingClientTls({ ...none, tlsClientTrustCertPath: "/none" }, readFile), /does not exist/);
  });

  it("is on by itself where plain connections are refused", () => {
    const host = { hostname: "h", localAddress: "10.0.0.1", env: () => undefined };
    assert.equal(createConfig({}, host).config.tlsEnable, false);
    assert.equal(createConfig({ tlsServerMode: "enforcing" }, host).config.tlsEnable, true);
    assert.equal(createConfig({ tlsServerMode: "enforcing", tlsEnable: false }, host).config.tlsEnable, false);
  });
});
