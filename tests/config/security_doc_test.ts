// SECURITY.md names a test for each claim: here it is held to that, and to the defaults it tells.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { isConfigKey, settingOf } from "../../src/config/schema.ts";

const ROOT = new URL("../../", import.meta.url);
const document = readFileSync(new URL("SECURITY.md", ROOT), "utf8");

describe("SECURITY.md", () => {
  it("names tests that exist", () => {
    const claims = [...document.matchAll(/`(tests\/[\w/]+\.ts)` "([^"]+)"/g)];
    assert.ok(claims.length > 20);
    const missing = claims.filter(([, file, title]) => !readFileSync(new URL(file!, ROOT), "utf8").includes(title!));
    assert.deepEqual(missing.map(([claim]) => claim), []);
  });

  it("names keys that exist, and their defaults", () => {
    const keys = [...document.matchAll(/`((?:ha|remoting|admin)[A-Z]\w+)`/g)].map((match) => match[1]!);
    for (const key of keys) assert.ok(isConfigKey(key), key);
    const told = {
      haConnectionsMax: 1024,
      haConnectionsPerAddressMax: 64,
      haHousekeepingInterval: 20_000,
      haTlsEnable: false,
      remotingConnectionsMax: 16_384,
      remotingConnectionsPerAddressMax: 4096,
      remotingFrameTimeout: 30_000,
      remotingHeldBytesMax: 512 * 1024 * 1024,
      serverChannelMaxIdleTimeSeconds: 120,
      adminConnectionsMax: 256,
      adminConnectionsPerAddressMax: 64,
    } as const;
    for (const [key, value] of Object.entries(told)) {
      assert.equal(settingOf(key as keyof typeof told).fallback, value, key);
    }
  });
});
