// Frames of remoting.md: golden bytes, both header forms, any split, hostile lengths.

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ProtocolError } from "../../src/base/errors.ts";
import { concatBytes, utf8, writeInt32 } from "../../src/base/bytes.ts";
import { FRAME_SIZE_MAX, FrameDecoder } from "../../src/remoting/frame_decoder.ts";
import {
  createRequest,
  createResponse,
  encodeFrame,
  isOneway,
  isResponse,
  type RemotingCommand,
  requiredExt,
  SerializeType,
} from "../../src/remoting/remoting_command.ts";

const BINARY_GOLDEN = "000000490100004500" + "1e0001df000000050000000000000002c3a90000002e" +
  "0007717565756549640000000133" + "0009636f6d6d69747465640000000474727565" + "0005746f706963000000025431";

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function fromHex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g)!, (pair) => parseInt(pair, 16));
}

function jsonFrame(header: string, body = new Uint8Array(0)): Uint8Array {
  const bytes = utf8.encode(header);
  const frame = new Uint8Array(8);
  writeInt32(frame, 0, 4 + bytes.length + body.length);
  writeInt32(frame, 4, bytes.length);
  return concatBytes([frame, bytes, body]);
}

function decodeAll(chunks: Iterable<Uint8Array>): RemotingCommand[] {
  const decoder = new FrameDecoder();
  const commands: RemotingCommand[] = [];
  for (const chunk of chunks) {
    // The connection lends its chunk, in Node a Buffer: what the decoder keeps must be its own.
    const lent = Buffer.from(chunk);
    decoder.push(lent);
    for (let command = decoder.next(); command !== null; command = decoder.next()) commands.push(command);
    lent.fill(0xee);
  }
  assert.equal(decoder.pendingBytes, 0);
  return commands;
}

describe("remoting headers", () => {
  it("reads the binary golden frame and writes it back byte for byte", () => {
    const [command] = decodeAll([fromHex(BINARY_GOLDEN)]);
    assert.deepEqual({ ...command, body: command!.body.length, extFields: [...command!.extFields] }, {
      code: 30,
      language: "JAVA",
      version: 479,
      opaque: 5,
      flag: 0,
      remark: "é",
      extFields: [["queueId", "3"], ["committed", "true"], ["topic", "T1"]],
      body: 0,
    });
    assert.equal(hex(encodeFrame(command!, SerializeType.ROCKETMQ)), BINARY_GOLDEN);
  });

  it("reads a Java JSON request and its answer", () => {
    const request =
      '{"code":30,"extFields":{"topic":"T1","queueId":"3","bname":"b-a"},"flag":0,"language":"JAVA","opaque":17,"version":479}';
    const answer = '{"code":0,"extFields":{"offset":"7"},"flag":1,"language":"JAVA","opaque":17,"version":479}';
    const [first, second] = decodeAll([concatBytes([jsonFrame(request), jsonFrame(answer)])]);
    assert.equal(first!.code, 30);
    assert.equal(requiredExt(first!, "queueId"), "3");
    assert.throws(() => requiredExt(first!, "absent"), /lacks the ext field "absent"/);
    assert.equal(isResponse(first!), false);
    assert.equal(isResponse(second!), true);
    assert.equal(second!.opaque, first!.opaque);
  });

  it("writes JSON with Apache's keys", () => {
    const frame = encodeFrame({ ...createRequest(28), opaque: 3 });
    assert.equal(
      utf8.decode(frame.subarray(8)),
      '{"code":28,"flag":0,"language":"JAVA","opaque":3,"serializeTypeCurrentRPC":"JSON","version":479}',
    );
    const answer = createResponse({ ...createRequest(28), opaque: -9 }, 1, {
      remark: "no",
      ext: { a: 7, b: null, c: true },
    });
    assert.match(
      utf8.decode(encodeFrame(answer).subarray(8)),
      /"extFields":\{"a":"7","c":"true"\},"flag":1,.*"opaque":-9/,
    );
  });

  it("coerces what fastjson coerces and refuses what it can't", () => {
    const [command] = decodeAll([
      jsonFrame('{"code":1,"extFields":{"a":7,"b":true,"c":null,"__proto__":"x"},"flag":2}'),
    ]);
    assert.deepEqual([...command!.extFields], [["a", "7"], ["b", "true"], ["__proto__", "x"]]);
    assert.equal(command!.language, "OTHER");
    assert.equal(isOneway(command!), true);
    for (
      const bad of [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        '{"code":"x"}',
        '{"code":1.5}',
        '{"code":1,"opaque":4294967295}',
        '{"code":1,"extFields":[1]}',
        '{"code":1,"extFields":{"a":{}}}',
      ]
    ) {
      assert.throws(() => decodeAll([jsonFrame(bad)]), ProtocolError, bad);
    }
  });
});

describe("FrameDecoder", () => {
  const body = new Uint8Array(3000).map((_, i) => i);
  const frames = [
    encodeFrame({ ...createRequest(310, { a: "b" }, body), opaque: 1 }),
    encodeFrame({ ...createRequest(28), opaque: 2 }, SerializeType.ROCKETMQ),
    encodeFrame({ ...createRequest(28, { "ключ": "значение" }), opaque: 3 }),
    encodeFrame({ ...createRequest(310, {}, body.subarray(0, 1)), opaque: 4 }, SerializeType.ROCKETMQ),
  ];
  const stream = concatBytes(frames);

  it("reads frames whole, glued and one byte at a time alike", () => {
    const whole = decodeAll([stream]);
    assert.deepEqual(whole.map((one) => one.opaque), [1, 2, 3, 4]);
    assert.deepEqual(whole[0]!.body, body);
    assert.equal(whole[2]!.extFields.get("ключ"), "значение");
    assert.deepEqual(decodeAll(frames), whole);
    assert.deepEqual(decodeAll(Array.from(stream, (_, i) => stream.subarray(i, i + 1))), whole);
  });

  it("reads frames at every split into two and in chunks of every small size", () => {
    const whole = decodeAll([stream]);
    for (let cut = 1; cut < stream.length; cut += 7) {
      assert.deepEqual(decodeAll([stream.subarray(0, cut), stream.subarray(cut)]), whole);
    }
    for (const size of [2, 3, 5, 8, 13, 100, 1000]) {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < stream.length; at += size) chunks.push(stream.subarray(at, at + size));
      assert.deepEqual(decodeAll(chunks), whole);
    }
  });

  it("waits at every truncation", () => {
    for (const frame of frames) {
      for (let size = 0; size < Math.min(frame.length, 120); size++) {
        const decoder = new FrameDecoder();
        decoder.push(frame.subarray(0, size));
        assert.equal(decoder.next(), null);
        assert.equal(decoder.pendingBytes, size);
      }
    }
  });

  it("refuses hostile lengths with the bytes that show them", () => {
    const hostile = [
      "ffffffff",
      "80000000",
      "00000000",
      "00000003",
      "00fffffd",
      "7fffffff",
      "16030100" + "00",
      "00000010" + "02000001",
      "00000010" + "0000000d",
      "00000010" + "00ffffff",
      "00000010" + "ff000000",
      "00f00000" + "00100001",
    ];
    for (const bytes of hostile) {
      const decoder = new FrameDecoder();
      decoder.push(fromHex(bytes));
      assert.throws(() => decoder.next(), ProtocolError, bytes);
    }
  });

  it("refuses lengths inside a binary header that do not fit", () => {
    const golden = fromHex(BINARY_GOLDEN);
    for (const at of [21, 27, 40]) {
      for (const value of [0x7fffffff, -1, 0x1000]) {
        const bytes = golden.slice();
        writeInt32(bytes, at, value);
        assert.throws(() => decodeAll([bytes]), ProtocolError, `${at} ${value}`);
      }
    }
    assert.throws(() => decodeAll([fromHex("0000000801000004" + "00000000")]), ProtocolError);
  });

  it("takes a frame of 16 MiB and holds no memory for one only announced", () => {
    const header = '{"code":1}';
    const frame = jsonFrame(header, new Uint8Array(FRAME_SIZE_MAX - 8 - header.length));
    assert.equal(frame.length, FRAME_SIZE_MAX);
    const decoder = new FrameDecoder();
    decoder.push(frame.subarray(0, 100));
    assert.equal(decoder.next(), null);
    assert.equal(decoder.pendingBytes, 100);
    decoder.push(frame.subarray(100));
    assert.equal(decoder.next()!.body.length, FRAME_SIZE_MAX - 8 - header.length);
    assert.equal(decoder.next(), null);
  });

  it("survives random bytes: a command, a wait, or a ProtocolError", () => {
    let seed = 12345;
    for (let round = 0; round < 2000; round++) {
      const bytes = new Uint8Array(40).map(() => {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        return seed >>> 24;
      });
      if (round % 2 === 0) bytes.set([0, 0, 0, 30, round % 4 === 0 ? 1 : 0, 0, 0, 22]);
      const decoder = new FrameDecoder();
      decoder.push(bytes);
      try {
        decoder.next();
      } catch (error) {
        assert.ok(error instanceof ProtocolError, String(error));
      }
    }
  });
});

describe("FrameDecoder, what it gives away and what it keeps", () => {
  const large = new Uint8Array(100_000).map((_, i) => i * 13);
  const one = encodeFrame({ ...createRequest(310, { a: "b" }, large), opaque: 1 });
  const two = encodeFrame({ ...createRequest(28, {}, large.subarray(0, 100)), opaque: 2 });

  it("puts a large frame together once: its body is the decoder's no longer", () => {
    const decoder = new FrameDecoder();
    const chunk = concatBytes([one.subarray(40_000), two, two.subarray(0, 50)]);
    decoder.push(one.subarray(0, 40_000));
    assert.equal(decoder.next(), null);
    assert.ok(decoder.heldBytes <= 80_000, String(decoder.heldBytes));
    decoder.push(chunk);
    const first = decoder.next()!;
    const second = decoder.next()!;
    assert.equal(decoder.next(), null);
    assert.deepEqual([first.opaque, second.opaque, decoder.pendingBytes], [1, 2, 50]);
    assert.ok(decoder.heldBytes <= 64);
    chunk.fill(0xee);
    decoder.push(two.subarray(50));
    assert.equal(decoder.next()!.opaque, 2);
    assert.deepEqual(first.body, large);
    assert.deepEqual(second.body, large.subarray(0, 100));
    assert.equal(first.body.buffer.byteLength, one.length);
  });

  it("loses nothing when it is given more before it has given all", () => {
    const decoder = new FrameDecoder();
    for (const part of [two, two.subarray(0, 3), two.subarray(3, 60), concatBytes([two.subarray(60), one])]) {
      decoder.push(part);
    }
    assert.deepEqual([decoder.next(), decoder.next(), decoder.next()].map((each) => each!.opaque), [2, 2, 1]);
    assert.equal(decoder.next(), null);
    decoder.push(one.subarray(0, 90_000));
    assert.equal(decoder.next(), null);
    decoder.push(concatBytes([one.subarray(90_000), two]));
    decoder.push(two);
    assert.deepEqual([decoder.next(), decoder.next(), decoder.next()].map((each) => each!.opaque), [1, 2, 2]);
    assert.deepEqual([decoder.pendingBytes, decoder.heldBytes], [0, 0]);
  });

  it("gives bodies that share memory but no byte", () => {
    const decoder = new FrameDecoder();
    decoder.push(concatBytes([two, two]));
    const [first, second] = [decoder.next()!, decoder.next()!];
    first.body.fill(1);
    assert.deepEqual(second.body, large.subarray(0, 100));
  });
});
