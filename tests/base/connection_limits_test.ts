import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConnectionLimits } from "../../src/base/connection_limits.ts";
import { PeerNetworks } from "../../src/base/peer_networks.ts";

describe("PeerNetworks", () => {
  const has = (list: string, address: string) => PeerNetworks.parse(list)!.has(address);

  it("knows who is in a network, IPv4 and IPv6, and an IPv4 peer in IPv6 clothes", () => {
    const cases: [string, string, boolean][] = [
      ["10.0.0.0/8", "10.255.1.2", true],
      ["10.0.0.0/8", "11.0.0.0", false],
      ["10.1.2.3", "10.1.2.3", true],
      ["10.1.2.3", "10.1.2.4", false],
      ["192.168.1.128/25", "192.168.1.127", false],
      ["192.168.1.128/25", "192.168.1.200", true],
      ["192.168.1.77/25", "192.168.1.1", true],
      ["0.0.0.0/0", "203.0.113.9", true],
      ["0.0.0.0/0", "::1", false],
      ["10.0.0.0/8", "::ffff:10.1.1.1", true],
      ["::ffff:10.0.0.0/104", "10.1.1.1", false],
      ["fd00::/8", "fdff:1::2", true],
      ["fd00::/8", "fe80::1", false],
      ["fe80::/10", "fe80::1%eth0", true],
      ["2001:db8::/33", "2001:db8:8000::", false],
      ["2001:db8::/33", "2001:db8:7fff:ffff::1", true],
      ["::1", "0:0:0:0:0:0:0:1", true],
      ["::/0", "2001:db8::1", true],
      ["[::1]; 10.0.0.1", "::1", true],
      ["64:ff9b::192.0.2.0/120", "64:ff9b::c000:2ff", true],
      ["10.0.0.0/8", "host.example", false],
      ["10.0.0.0/8", "", false],
    ];
    for (const [list, address, wanted] of cases) assert.equal(has(list, address), wanted, `${address} in ${list}`);
  });

  it("takes nothing that is no network", () => {
    const wrong = [
      "",
      " ",
      "10.0.0.0/33",
      "10.0.0/8",
      "10.0.0.256",
      "1.2.3.4.5",
      "host",
      "::/129",
      "1::2::3",
      "12345::",
      "g::",
      "10.0.0.0/8/8",
      "10.0.0.0/-1",
      "10.0.0.0/",
      "1:2:3:4:5:6:7",
      "1:2:3:4:5:6:7:8:9",
      "1:2:3:4:5:6:7::8",
      "10.0.0.1, x",
      ":1",
      "::1.2.3",
      "1:2.3.4.5:6::",
      "1.2.3.4::",
    ];
    for (const text of wrong) assert.equal(PeerNetworks.parse(text), null, text);
  });
});

describe("ConnectionLimits", () => {
  it("bounds all and each address, gives back, and counts by reason", () => {
    const bounds = { max: 3, perAddress: 2, allowed: null as string | null };
    const limits = new ConnectionLimits({
      connectionsMax: () => bounds.max,
      connectionsPerAddressMax: () => bounds.perAddress,
      allowedPeers: () => bounds.allowed,
    });
    assert.equal(limits.admit("10.0.0.1"), null);
    assert.equal(limits.admit("::ffff:10.0.0.1"), null);
    assert.equal(limits.admit("10.0.0.1")!.reason, "tooManyFromAddress");
    assert.equal(limits.admit("10.0.0.2"), null);
    assert.equal(limits.admit("10.0.0.3")!.reason, "tooManyConnections");
    limits.release("10.0.0.1");
    assert.equal(limits.admit("10.0.0.1"), null);
    bounds.max = 10;
    bounds.allowed = "10.0.0.2";
    assert.match(limits.admit("10.0.0.3")!.detail, /not in 10\.0\.0\.2/);
    assert.equal(limits.admit("10.0.0.2"), null);
    assert.deepEqual(limits.refusals, { notAllowed: 1, tooManyConnections: 1, tooManyFromAddress: 1 });
  });
});
