// The remoting protocol's decoders: frames, both forms of a header, addresses.

import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, utf8 } from "../../../src/base/bytes.ts";
import { formatHostPort } from "../../../src/base/host_port.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { parseHostPort } from "../../../src/config/setting.ts";
import { FrameDecoder } from "../../../src/remoting/frame_decoder.ts";
import { decodeJsonHeader, encodeJsonHeader } from "../../../src/remoting/json_header.ts";
import { parseRemotingAddress, splitAddressList, vipAddress } from "../../../src/remoting/remoting_address.ts";
import { readProxyHeader } from "../../../src/remoting/proxy_protocol.ts";
import {
  encodeFrame,
  encodeHead,
  headSizeMax,
  type RemotingCommand,
  SerializeType,
} from "../../../src/remoting/remoting_command.ts";
import type { RemotingHeader } from "../../../src/remoting/remoting_header.ts";
import { decodeRocketmqHeader, encodeRocketmqHeader } from "../../../src/remoting/rocketmq_header.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { allocatedBy, assertMemory, assertPlain, deliveries, outcome } from "../properties.ts";

const int32 = fc.integer();
const texts = fc.oneof(
  fc.string({ maxLength: 20, unit: "binary" }),
  fc.constantFrom("__proto__", "constructor", "\ufeffx", "\ud800", "a\nb", "masterHaAddress", "10.0.0.1:10912"),
);
const header: fc.Arbitrary<RemotingHeader> = fc.record({
  code: fc.oneof(fc.nat(1000), int32),
  language: fc.constantFrom("JAVA", "OTHER", "GO", "NODE_JS", "toString"),
  version: fc.nat(600),
  opaque: int32,
  flag: fc.nat(3),
  remark: fc.option(texts),
  extFields: fc.array(fc.tuple(texts, texts), { maxLength: 5 }).map((pairs) => new Map(pairs)),
});
const command: fc.Arbitrary<RemotingCommand> = fc.tuple(header, fc.uint8Array({ maxLength: 60 })).map(
  ([fields, body]) => ({ ...fields, body }),
);

function assertHeader(decoded: RemotingHeader): void {
  for (const key of ["code", "version", "opaque", "flag"] as const) {
    assert.ok((decoded[key] | 0) === decoded[key], `${key} is ${decoded[key]}`);
  }
  assert.equal(typeof decoded.language, "string");
  for (const [key, value] of decoded.extFields) assert.ok(typeof key === "string" && typeof value === "string");
}

/** What a header means once it is written: -0 is 0. */
function plain(decoded: RemotingHeader): unknown {
  const { code, version, opaque, flag } = decoded;
  return { ...decoded, code: code | 0, version: version | 0, opaque: opaque | 0, flag: flag | 0 };
}

/** The JSON form. */
export const JSON_HEADER: FuzzTarget = {
  name: "remoting_json_header",
  runs: 2500,
  inputs: header.map(encodeJsonHeader),
  check(input) {
    const { value, error } = outcome(() => decodeJsonHeader(input), ProtocolError);
    if (error !== null) return;
    assertHeader(value);
    assert.deepEqual(plain(decodeJsonHeader(encodeJsonHeader(value))), plain(value));
    assertPlainForm({ ...value, body: new Uint8Array(3) });
  },
};

/** The quick way to write it gives the same bytes, or none, and keeps to the room it asks for. */
function assertPlainForm(answer: RemotingCommand): void {
  const target = new Uint8Array(headSizeMax(answer));
  const end = encodeHead(answer, target, 0);
  if (end < 0) return;
  assert.ok(end <= target.length);
  const frame = encodeFrame(answer);
  assert.deepEqual(target.slice(0, end), frame.slice(0, -3));
}

/** The binary form. */
export const ROCKETMQ_HEADER: FuzzTarget = {
  name: "remoting_rocketmq_header",
  runs: 3000,
  inputs: header.map(encodeRocketmqHeader),
  check(input) {
    const { value, error } = outcome(() => decodeRocketmqHeader(input), ProtocolError);
    if (error !== null) return;
    assertHeader(value);
    const again = decodeRocketmqHeader(encodeRocketmqHeader(value));
    // Only a name that grew past its 15 bits by replacement characters can't be written; see the catch of encode.
    assert.deepEqual(plain(again), plain(value));
    assertMemory(() => void decodeRocketmqHeader(input), 0, 0, 0);
  },
};

const FRAME_SIZE_MAX = 1 << 16;

function decodeAll(parts: readonly Uint8Array[]): { commands: RemotingCommand[]; error: string | null } {
  const decoder = new FrameDecoder(FRAME_SIZE_MAX);
  const commands: RemotingCommand[] = [];
  for (const part of parts) {
    const { error } = outcome(() => {
      decoder.push(part);
      for (let next = decoder.next(); next !== null; next = decoder.next()) commands.push(next);
    }, ProtocolError);
    if (error !== null) return { commands, error: error.message };
    assert.ok(decoder.pendingBytes < FRAME_SIZE_MAX, `Holds ${decoder.pendingBytes} bytes of an unfinished frame`);
    // The peer's buffer is its own again: what the decoder keeps must not be a view of it.
    part.fill(0xee);
  }
  return { commands, error: null };
}

/** A connection's bytes. */
export const FRAMES: FuzzTarget = {
  name: "remoting_frames",
  runs: 700,
  inputs: fc.array(
    fc.tuple(command, fc.boolean()).map(([each, binary]) =>
      encodeFrame(each, binary ? SerializeType.ROCKETMQ : SerializeType.JSON)
    ),
    { maxLength: 4 },
  ).map(concatBytes),
  check(input) {
    const [whole, ...others] = deliveries(input).map(decodeAll.bind(null));
    for (const other of others) assert.deepEqual(other, whole);
    for (const each of whole!.commands) assertHeader(each);
    // What was copied: the bodies, the rest, and a buffer that doubles while it grows byte by byte.
    for (const parts of deliveries(input)) assertMemory(() => void decodeAll(parts), input.length, 8, 256);
    assertRestIsSmall(input);
  },
};

/** Behind a large frame, the memory kept for the begin of the next one goes by that begin, not by the large frame. */
function assertRestIsSmall(input: Uint8Array): void {
  const large = encodeFrame({ ...EMPTY, body: new Uint8Array(30_000) });
  const decoder = new FrameDecoder(FRAME_SIZE_MAX);
  const stream = concatBytes([large, Uint8Array.of(0, 0, 1)]);
  decoder.push(stream.subarray(0, 20_000 + input.length % 1000));
  assert.equal(decoder.next(), null);
  const kept = allocatedBy(() => {
    decoder.push(stream.subarray(20_000 + input.length % 1000));
    assert.ok(decoder.next() !== null);
    assert.equal(decoder.next(), null);
  });
  assert.equal(decoder.pendingBytes, 3);
  assert.ok(decoder.heldBytes <= 8, `Holds ${decoder.heldBytes} bytes`);
  // The frame put together, its body a view of it, and three bytes: had the decoder gone on with the buffer of the large
  // frame, 30,000 it would hold unseen by the limit on held bytes.
  assert.ok(kept > 30_000 && kept < 31_000, `Took ${kept} bytes`);
}

/** What a load balancer puts before a connection's bytes. */
export const PROXY_HEADER: FuzzTarget = {
  name: "proxy_header",
  runs: 3000,
  inputs: fc.oneof(
    fc.tuple(fc.constantFrom("TCP4 10.0.0.9 10.0.0.1", "TCP6 ::1 fe80::9", "UNKNOWN", "TCP4 ::1 x"), fc.nat(99_999))
      .map(
        ([text, port]) => utf8.encode(`PROXY ${text} ${port} 10911\r\nrest`),
      ),
    fc.tuple(fc.nat(255), fc.nat(255), fc.uint8Array({ maxLength: 60 })).map(([command, family, rest]) =>
      Uint8Array.from([...PROXY_SIGNATURE, command & 1 ? command : 0x21, family, 0, rest.length, ...rest])
    ),
  ),
  check(input) {
    if (input.length === 0) return;
    const { value, error } = outcome(() => readProxyHeader(input), ProtocolError);
    if (error !== null || value === null || value === "more") return;
    assert.ok(value.size >= 13 && value.size <= input.length);
    assert.deepEqual(readProxyHeader(input.subarray(0, value.size)), value);
    if (value.source === null) return;
    assertPlain(value.source.hostname);
    assert.ok(value.source.port >= 0 && value.source.port <= 65535);
  },
};

const PROXY_SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];

const EMPTY: RemotingCommand = {
  code: 0,
  language: "JAVA",
  version: 0,
  opaque: 0,
  flag: 0,
  remark: null,
  extFields: new Map(),
  body: new Uint8Array(0),
};

/** Addresses from peers and from configuration. */
export const ADDRESS: FuzzTarget = {
  name: "addresses",
  runs: 4000,
  inputs: fc.constantFrom("10.0.0.1:10912", "[::1]:80", "fe80::1:9876", "host-1.example:65535", "a:1;b:2; ;c:3").map(
    utf8.encode,
  ),
  check(input) {
    const text = utf8.decode(input);
    for (const parsed of [parseRemotingAddress(text), parseHostPort(text, 0)]) {
      if (parsed === null) continue;
      assert.ok(Number.isInteger(parsed.port) && parsed.port >= 0 && parsed.port <= 65535);
      assertPlain(parsed.hostname);
      assert.ok(parsed.hostname.length > 0 && !/[\s/]/.test(parsed.hostname));
      if (parsed.port > 0) assert.deepEqual(parseRemotingAddress(formatHostPort(parsed)), parsed);
    }
    assert.equal(typeof vipAddress(text), "string");
    assert.ok(splitAddressList(text).every((part) => part !== "" && part.trim() === part));
  },
};
