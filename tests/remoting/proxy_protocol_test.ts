// The PROXY protocol's headers: both versions, every split, and what is none.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { readProxyHeader } from "../../src/remoting/proxy_protocol.ts";

const line = (text: string) => utf8.encode(`${text}\r\n`);

/** Version 2 with this command, family and rest. */
function binary(command: number, family: number, rest: number[], version = 2): Uint8Array {
  const signature = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
  return Uint8Array.from([...signature, version << 4 | command, family, rest.length >> 8, rest.length & 255, ...rest]);
}

const IPV4 = [10, 0, 0, 9, 10, 0, 0, 1, 0xc8, 0x22, 0x2a, 0x9f];
const IPV6 = [0x20, 1, 0x0d, 0xb8, ...new Array<number>(11).fill(0), 9, ...new Array<number>(16).fill(1), 1, 2, 3, 4];
const HEADERS: [string, Uint8Array, unknown][] = [
  ["1, TCP4", line("PROXY TCP4 10.0.0.9 10.0.0.1 51234 10911"), { hostname: "10.0.0.9", port: 51234 }],
  ["1, TCP6", line("PROXY TCP6 2001:db8::9 ::1 51234 10911"), { hostname: "2001:db8::9", port: 51234 }],
  ["1, unknown", line("PROXY UNKNOWN"), null],
  ["1, unknown with more", line("PROXY UNKNOWN ffff::1 ffff::2 65535 65535"), null],
  ["2, IPv4", binary(1, 0x11, IPV4), { hostname: "10.0.0.9", port: 51234 }],
  ["2, IPv4 and more", binary(1, 0x11, [...IPV4, 4, 0, 1, 7]), { hostname: "10.0.0.9", port: 51234 }],
  ["2, IPv6", binary(1, 0x21, IPV6), { hostname: "2001:db8:0:0:0:0:0:9", port: 258 }],
  ["2, local", binary(0, 0, []), null],
  ["2, UNIX sockets", binary(1, 0x31, new Array<number>(216).fill(1)), null],
];

describe("readProxyHeader", () => {
  for (const [name, header, source] of HEADERS) {
    it(`reads version ${name}, and waits for the rest of every part of it`, () => {
      const glued = concatBytes([header, Uint8Array.of(0, 0, 0, 9)]);
      assert.deepEqual(readProxyHeader(glued), { size: header.length, source });
      for (let size = 1; size < header.length; size++) {
        assert.equal(readProxyHeader(header.subarray(0, size)), "more", String(size));
      }
    });
  }

  it("is not what a frame, a TLS client or another text begins with", () => {
    for (const bytes of [[0, 0, 1, 0], [1], [0x16, 3, 1], [...utf8.encode("POST /")], [0x0d, 0x0a, 0x0d, 0x0b]]) {
      assert.equal(readProxyHeader(Uint8Array.from(bytes)), null, String(bytes));
    }
  });

  it("refuses what is broken", () => {
    const broken = [
      line("PROXY "),
      line("PROXY TCP4 10.0.0.9 10.0.0.1 51234"),
      line("PROXY TCP4 2001:db8::9 ::1 51234 10911"),
      line("PROXY TCP5 10.0.0.9 10.0.0.1 51234 10911"),
      line("PROXY TCP4 10.0.0.9 10.0.0.1 99999 10911"),
      utf8.encode("PROXY TCP4 10.0.0.9 10.0.0.1 51234 10911\n"),
      utf8.encode(`PROXY UNKNOWN ${"x".repeat(100)}`),
      binary(1, 0x11, IPV4, 3),
      binary(2, 0x11, IPV4),
      binary(1, 0x11, new Array<number>(5000).fill(0)),
    ];
    for (const bytes of broken) assert.throws(() => readProxyHeader(bytes), ProtocolError, utf8.decode(bytes));
  });
});
