// Hosts as records hold them.

import assert from "node:assert/strict";
import { it } from "node:test";
import { hostOfAddress, hostWithPort } from "../../src/broker/record_host.ts";

it("takes the first host that is an address: a name can't stand in a record, and loopback is nobody's broker", () => {
  const bytes = (...hosts: string[]) => [...hostWithPort(hosts, () => 1).address];
  assert.deepEqual(bytes("10.0.0.1", "10.0.0.2"), [10, 0, 0, 1]);
  assert.deepEqual(bytes("broker.example", "10.0.0.2"), [10, 0, 0, 2]);
  assert.deepEqual(bytes("10.0.0.256", "::1"), [...new Uint8Array(15), 1]);
  assert.deepEqual(bytes("a", "b"), [127, 0, 0, 1]);
  let port = 1;
  const host = hostWithPort(["10.0.0.1"], () => port);
  port = 2;
  assert.equal(host.port, 2);
  assert.deepEqual(hostOfAddress("[::ffff:1.2.3.4]:5"), { address: Uint8Array.of(1, 2, 3, 4), port: 5 });
});
