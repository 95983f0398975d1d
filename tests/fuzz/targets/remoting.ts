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
import { encodeFrame, type RemotingCommand, SerializeType } from "../../../src/remoting/remoting_command.ts";
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
  },
};

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
  decoder.push(stream.subarray(20_000 + input.length % 1000));
  const kept = allocatedBy(() => {
    assert.ok(decoder.next() !== null);
    assert.equal(decoder.next(), null);
  });
  assert.equal(decoder.pendingBytes, 3);
  // The body's copy, and three bytes: had the decoder gone on with the buffer of the large frame, 30,000 it would hold
  // unseen by the limit on held bytes.
  assert.ok(kept > 30_000 && kept < 31_000, `Took ${kept} bytes`);
}

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
