import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConfigError } from "../../src/base/errors.ts";
import { adminAccess, isLoopback } from "../../src/config/admin_access.ts";

function access(adminAddress: string | null, options: { file?: string; content?: string; env?: string } = {}) {
  const sources = {
    env: (name: string) => name === "TWINLOG_ADMIN_TOKEN" ? options.env : undefined,
    readFile: () => options.content === undefined ? null : new TextEncoder().encode(options.content),
  };
  return adminAccess({ adminAddress, adminTokenFile: options.file ?? null }, sources);
}

describe("adminAccess", () => {
  it("needs no token on loopback", () => {
    assert.deepEqual(access("127.0.0.1:1"), { hostname: "127.0.0.1", port: 1, token: null });
    assert.deepEqual(access("[::1]:0"), { hostname: "::1", port: 0, token: null });
    assert.equal(access(null), null);
  });

  it("needs one elsewhere, from the file or the environment", () => {
    assert.throws(
      () => access("0.0.0.0:1"),
      (error) => error instanceof ConfigError && /there is no token, wanted --admin-token-file/.test(error.message),
    );
    assert.equal(access("0.0.0.0:1", { env: "12345678" })?.token, "12345678");
    assert.equal(access("0.0.0.0:1", { file: "t", content: "abcdefgh\n", env: "other-token" })?.token, "abcdefgh");
  });

  it("refuses what is no token", () => {
    for (const bad of ["", "short", "with blank in it", "ümlaut-token"]) {
      assert.throws(() => access("127.0.0.1:1", { file: "t", content: bad }), ConfigError, bad);
    }
    assert.throws(() => access("127.0.0.1:1", { file: "missing" }), /"missing" does not exist/);
  });

  it("knows loopback", () => {
    for (const yes of ["localhost", "127.0.0.1", "127.9.9.9", "::1"]) assert.ok(isLoopback(yes), yes);
    for (const no of ["0.0.0.0", "10.0.0.1", "127.0.0.1.evil.test", "::", "localhost.evil.test"]) {
      assert.ok(!isLoopback(no), no);
    }
  });
});
