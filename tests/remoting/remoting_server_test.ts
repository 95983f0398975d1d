// Client and server over real loopback sockets: answers, errors, garbage, idle ends, back-pressure, many connections.

import { afterEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { concatBytes, writeInt32 } from "../../src/base/bytes.ts";
import { deferred } from "../../src/base/async.ts";
import { IoError, RemotingError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import {
  type ProcessorTable,
  type RemotingLimits,
  RemotingServer,
  type RemotingServerOptions,
  type RequestProcessor,
} from "../../src/remoting/remoting_server.ts";
import { HeldBytes } from "../../src/remoting/held_bytes.ts";
import { FrameDecoder } from "../../src/remoting/frame_decoder.ts";
import type { RemotingConnection } from "../../src/remoting/remoting_connection.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import { createRequest, createResponse, encodeFrame, SerializeType } from "../../src/remoting/remoting_command.ts";
import type { Connection } from "../../src/runtime/runtime.ts";
import { ManualClock, recordingLogger, runtime, waitFor } from "./support.ts";

const ECHO = 1000;
const cleanups: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const echo: ProcessorTable = new Map([
  [ECHO, (request) => createResponse(request, 0, { body: request.body, ext: Object.fromEntries(request.extFields) })],
]);

function limits(changes: Partial<RemotingLimits>): RemotingLimits {
  return {
    serverChannelMaxIdleTimeSeconds: 120,
    remotingAllowedPeers: null,
    remotingConnectionsMax: 16_384,
    remotingConnectionsPerAddressMax: 4096,
    remotingFrameTimeout: 30_000,
    ...changes,
  };
}

interface Started {
  server: RemotingServer;
  address: string;
  port: number;
}

async function startServer(options: Partial<RemotingServerOptions> = {}): Promise<Started> {
  const server = new RemotingServer({
    net: runtime.net,
    clock: runtime.clock,
    logger: SILENT_LOGGER,
    processors: echo,
    hostname: "127.0.0.1",
    port: 0,
    ...options,
  });
  const { port } = await server.start();
  cleanups.push(() => server.stop());
  return { server, address: `127.0.0.1:${port}`, port };
}

function makeClient(options: Partial<ConstructorParameters<typeof RemotingClient>[0]> = {}): RemotingClient {
  const client = new RemotingClient({ net: runtime.net, clock: runtime.clock, ...options });
  cleanups.push(() => client.close());
  return client;
}

async function connectRaw(port: number): Promise<Connection> {
  const socket = await runtime.net.connect({ hostname: "127.0.0.1", port, timeoutMs: 5000 });
  cleanups.push(() => socket.close());
  return socket;
}

describe("RemotingServer and RemotingClient", () => {
  it("answers requests, in parallel over one connection", async () => {
    const { server, address } = await startServer();
    const client = makeClient();
    const bodies = Array.from({ length: 50 }, (_, i) => new Uint8Array(i * 997).fill(i));
    const answers = await Promise.all(
      bodies.map((body, i) => client.invoke(address, createRequest(ECHO, { i }, body), 5000)),
    );
    answers.forEach((answer, i) => {
      assert.equal(answer.code, 0);
      assert.equal(answer.extFields.get("i"), String(i));
      assert.deepEqual(answer.body, bodies[i]);
    });
    assert.equal(server.connectionCount, 1);
    assert.equal(server.requestCount, 50);
  });

  it("matches answers that come in another order", async () => {
    const first = deferred<void>();
    const processors: ProcessorTable = new Map<number, RequestProcessor>([
      [1, async (request) => {
        await first.promise;
        return createResponse(request, 0, { remark: "late" });
      }],
      [2, (request) => createResponse(request, 0, { remark: "early" })],
    ]);
    const { address } = await startServer({ processors });
    const client = makeClient();
    const late = client.invoke(address, createRequest(1), 5000);
    assert.equal((await client.invoke(address, createRequest(2), 5000)).remark, "early");
    first.resolve();
    assert.equal((await late).remark, "late");
  });

  it("answers an unknown code with 3, a RemotingError with its code, anything else with 1", async () => {
    const { logger, lines } = recordingLogger();
    const processors: ProcessorTable = new Map<number, RequestProcessor>([
      [1, () => {
        throw new RemotingError(17, "No such topic");
      }],
      [2, () => Promise.reject(new Error("Unforeseen"))],
    ]);
    const { address } = await startServer({ processors, logger });
    const client = makeClient();
    const codes = [];
    for (const code of [1, 2, 12345]) {
      const answer = await client.invoke(address, createRequest(code), 5000);
      codes.push([answer.code, answer.remark]);
    }
    assert.deepEqual(codes, [[17, "No such topic"], [1, "Unforeseen"], [3, " request type 12345 not supported"]]);
    assert.equal(lines.length, 1);
  });

  it("does not answer one-way requests, not even with an error", async () => {
    const seen: number[] = [];
    const processors: ProcessorTable = new Map<number, RequestProcessor>([
      [1, (request) => {
        seen.push(request.code);
        throw new Error("No");
      }],
      ...echo,
    ]);
    const { port } = await startServer({ processors });
    const socket = await connectRaw(port);
    await socket.write(concatBytes([
      encodeFrame({ ...createRequest(1), flag: 2, opaque: 1 }),
      encodeFrame({ ...createRequest(777), flag: 2, opaque: 2 }),
      encodeFrame({ ...createRequest(ECHO), opaque: 3 }),
    ]));
    const decoder = new FrameDecoder();
    decoder.push((await socket.read())!);
    assert.equal(decoder.next()!.opaque, 3);
    assert.deepEqual(seen, [1]);
  });

  it("takes binary headers, byte by byte, and answers in JSON", async () => {
    const { port } = await startServer();
    const socket = await connectRaw(port);
    const frame = encodeFrame({ ...createRequest(ECHO, { a: "b" }), opaque: 7 }, SerializeType.ROCKETMQ);
    for (const byte of frame) await socket.write(Uint8Array.of(byte));
    const decoder = new FrameDecoder();
    let answer = decoder.next();
    while (answer === null) {
      const chunk = (await socket.read())!;
      assert.equal(chunk[4], 0);
      decoder.push(chunk);
      answer = decoder.next();
    }
    assert.equal(answer.opaque, 7);
    assert.equal(answer.extFields.get("a"), "b");
  });

  it("closes on garbage, counts and says it, and serves the others", async () => {
    const { logger, lines } = recordingLogger();
    const { server, port, address } = await startServer({ logger });
    const client = makeClient();
    await client.invoke(address, createRequest(ECHO), 5000);
    const huge = new Uint8Array(8);
    writeInt32(huge, 0, 0x7fffffff);
    const texts = ["GET / HTTP/1.1\r\n\r\n", "\x17\x03\x01\x02\x00\x01\x00", "\0\0\0\x08\0\0\0\x04null"];
    const garbage = [...texts.map((text) => Uint8Array.from(text, (char) => char.charCodeAt(0))), huge];
    for (const bytes of garbage) {
      const socket = await connectRaw(port);
      await socket.write(bytes);
      assert.equal(await socket.read().catch(() => null), null);
    }
    await waitFor("the counts", () => server.closeCounts.garbage === garbage.length);
    assert.equal(
      lines.filter((line) => line.startsWith("warn Closed a remoting connection")).length,
      1,
      "one line per host, reason and minute",
    );
    assert.equal((await client.invoke(address, createRequest(ECHO), 5000)).code, 0);
  });

  it("closes a connection that is idle for 120 s and keeps one that is not", async () => {
    const clock = new ManualClock();
    const { server, address, port } = await startServer({ clock, limits: limits({ remotingFrameTimeout: 1e9 }) });
    const client = makeClient();
    await client.invoke(address, createRequest(ECHO), 5000);
    const socket = await connectRaw(port);
    await waitFor("both", () => server.connectionCount === 2);
    clock.advance(119_000);
    assert.equal(server.connectionCount, 2);
    await client.invoke(address, createRequest(ECHO), 5000);
    clock.advance(1000);
    assert.equal(server.connectionCount, 1);
    assert.equal(await socket.read(), null);
    assert.deepEqual([server.closeCounts.idle, clock.timerCount], [1, 1]);
    clock.advance(119_000);
    assert.equal(server.connectionCount, 0);
    assert.equal(clock.timerCount, 0);
  });

  it("stops reading from a peer that does not read its answers", async () => {
    const { server, port } = await startServer();
    const socket = await connectRaw(port);
    const request = encodeFrame({ ...createRequest(ECHO, {}, new Uint8Array(256 * 1024)), opaque: 1 });
    let sent = 0;
    const writing = (async () => {
      for (let i = 0; i < 400; i++) {
        await socket.write(request);
        sent++;
      }
    })();
    // The requests taken stop growing long before all 400 are, as nothing drains the answers.
    let before = -1;
    await waitFor("the server to stop reading", () => {
      const stalled = server.requestCount > 0 && before === server.requestCount;
      before = server.requestCount;
      return stalled && server.requestCount < 400;
    });
    assert.ok(server.requestCount < 400, `${server.requestCount}`);
    const decoder = new FrameDecoder();
    let answers = 0;
    while (answers < 400) {
      decoder.push((await socket.read())!);
      while (decoder.next() !== null) answers++;
    }
    await writing;
    assert.equal(sent, 400);
    assert.equal(server.requestCount, 400);
  });

  it("stops reading while large requests wait to be answered", async () => {
    const gate = deferred<void>();
    const processors: typeof echo = new Map([[ECHO, async (request) => {
      await gate.promise;
      return createResponse(request, 0);
    }]]);
    const { server, port } = await startServer({ processors });
    const socket = await connectRaw(port);
    const request = encodeFrame({ ...createRequest(ECHO, {}, new Uint8Array(8 * 1024 * 1024)), opaque: 1 });
    const writing = (async () => {
      for (let i = 0; i < 12; i++) await socket.write(request);
    })();
    await waitFor("64 MiB of requests", () => server.requestCount === 8);
    await Promise.race([writing, new Promise((resolve) => runtime.clock.setTimer(100, () => resolve(null)))]);
    assert.equal(server.requestCount, 8);
    gate.resolve();
    await writing;
    await waitFor("the rest", () => server.requestCount === 12);
  });

  it("holds 1,000 idle connections and refuses those beyond the limit", async () => {
    const { server, port, address } = await startServer({ limits: limits({ remotingConnectionsMax: 1001 }) });
    const sockets = await Promise.all(Array.from({ length: 1000 }, () => connectRaw(port)));
    await waitFor("1,000 connections", () => server.connectionCount === 1000);
    const client = makeClient();
    assert.equal((await client.invoke(address, createRequest(ECHO), 5000)).code, 0);
    const extra = await connectRaw(port);
    assert.equal(await extra.read().catch(() => null), null);
    assert.equal(server.closeCounts.tooManyConnections, 1);
    for (const socket of sockets) socket.close();
    await waitFor("all to be gone", () => server.connectionCount === 1);
  });

  it("fails what waits when the server stops, and connects again to a new one", async () => {
    const processors: ProcessorTable = new Map([[1, () => null], ...echo]);
    const { server, address, port } = await startServer({ processors });
    const closed: string[] = [];
    const client = makeClient({ onConnectionClosed: (one) => closed.push(one) });
    const waiting = client.invoke(address, createRequest(1), 60_000);
    waiting.catch(() => undefined);
    await waitFor("the request", () => server.requestCount === 1);
    await server.stop();
    await assert.rejects(waiting, (error) => error instanceof IoError && error.kind === "closed");
    assert.deepEqual(closed, [address]);
    await assert.rejects(
      client.invoke(address, createRequest(1), 5000),
      (error) => error instanceof IoError && error.kind === "refused",
    );
    await startServer({ port });
    assert.equal((await client.invoke(address, createRequest(ECHO), 5000)).code, 0);
  });

  it("times out by its clock and closes that connection", async () => {
    const clock = new ManualClock();
    const { server, address } = await startServer({ processors: new Map([[1, () => null]]) });
    const client = makeClient({ clock });
    const waiting = client.invoke(address, createRequest(1), 3000);
    waiting.catch(() => undefined);
    await waitFor("the request", () => server.requestCount === 1);
    clock.advance(2999);
    assert.equal(client.isConnected(address), true);
    clock.advance(1);
    await assert.rejects(waiting, (error) => error instanceof IoError && error.kind === "timeout");
    assert.equal(client.isConnected(address), false);
    assert.equal(clock.timerCount, 0);
    await waitFor("the server's end", () => server.connectionCount === 0);
  });

  it("refuses an address that is none and a client that is closed", async () => {
    const client = makeClient();
    for (const address of ["", "host", "host:0", "host:99999", ":1", "a b:1"]) {
      await assert.rejects(client.invoke(address, createRequest(1), 100), IoError);
    }
    client.close();
    await assert.rejects(
      client.invoke("127.0.0.1:1", createRequest(1), 100),
      (error) => error instanceof IoError && error.kind === "closed",
    );
  });

  it("closes the greatest holder when unfinished requests take too much memory together", async () => {
    const { logger, lines } = recordingLogger();
    const { server, address, port } = await startServer({ heldBytes: new HeldBytes(() => 400_000), logger });
    const partial = (size: number): Uint8Array => {
      const bytes = new Uint8Array(size);
      writeInt32(bytes, 0, 1_000_000);
      writeInt32(bytes, 4, 900_000);
      return bytes;
    };
    // A buffer may be twice as large as what it holds.
    const great = await connectRaw(port);
    await great.write(partial(150_000));
    await waitFor("it is held", () => server.heldBytes >= 150_000);
    for (let i = 0; server.closeCounts.overflow === 0; i++) {
      assert.ok(i < 20);
      const small = await connectRaw(port);
      const held = server.heldBytes;
      await small.write(partial(50_000));
      await waitFor("it counts", () => server.heldBytes >= held + 50_000 || server.closeCounts.overflow === 1);
    }
    assert.equal(await great.read().catch(() => null), null);
    assert.ok(server.heldBytes <= 400_000);
    assert.deepEqual(server.closeCounts.overflow, 1);
    assert.equal((await makeClient().invoke(address, createRequest(ECHO), 5000)).code, 0);
    assert.match(lines.join("\n"), /overflow/);
  });

  it("takes from the address that holds most, whoever holds most alone", async () => {
    const closed: string[] = [];
    const held = new HeldBytes(() => 1000);
    const peers = [["a", 400], ["b", 300], ["b", 250], ["a", 50]] as const;
    for (const [host, bytes] of peers) {
      const peer = { heldBytes: bytes as number, close: () => closed.push(`${host} ${bytes}`) };
      held.add(peer as unknown as RemotingConnection, host, bytes);
    }
    assert.deepEqual([held.total, closed], [1000, []]);
    held.add({ heldBytes: 1, close: () => {} } as unknown as RemotingConnection, "c", 1);
    assert.deepEqual(closed, ["b 300"]);
  });

  it("closes one that sends no whole request in time, and lets one between requests be", async () => {
    const clock = new ManualClock();
    const { logger, lines } = recordingLogger();
    const { server, port, address } = await startServer({ clock, logger });
    const client = makeClient();
    await client.invoke(address, createRequest(ECHO), 5000);
    const silent = await connectRaw(port);
    const dripping = await connectRaw(port);
    const frame = encodeFrame(createRequest(ECHO, {}, new Uint8Array(100)));
    await dripping.write(frame);
    assert.ok(await dripping.read());
    await waitFor("three", () => server.connectionCount === 3);
    clock.advance(29_000);
    await dripping.write(frame.subarray(0, 10));
    await waitFor("a part is held", () => server.heldBytes >= 10);
    clock.advance(1000);
    assert.equal(await silent.read().catch(() => null), null);
    assert.deepEqual([server.closeCounts.slow, server.connectionCount], [1, 2]);
    clock.advance(20_000);
    await dripping.write(frame.subarray(10, 11));
    clock.advance(10_000);
    assert.equal(await dripping.read().catch(() => null), null);
    assert.deepEqual([server.closeCounts.slow, server.connectionCount], [2, 1]);
    assert.match(lines.join("\n"), /Closed a remoting connection.*slow/);
    assert.equal((await client.invoke(address, createRequest(ECHO), 5000)).code, 0);
  });

  it("refuses by address and beyond an address's share, from one connection to the next", async () => {
    const { logger, lines } = recordingLogger();
    const options = { ...limits({ remotingConnectionsPerAddressMax: 2 }) };
    const { server, port } = await startServer({ limits: options, logger });
    const isServed = async () => {
      const socket = await connectRaw(port);
      await socket.write(encodeFrame(createRequest(ECHO))).catch(() => {});
      const answer = await socket.read().catch(() => null);
      return { served: answer !== null, close: () => socket.close() };
    };
    const first = await isServed();
    assert.deepEqual([first.served, (await isServed()).served, (await isServed()).served], [true, true, false]);
    first.close();
    await waitFor("room", () => server.connectionCount === 1);
    assert.equal((await isServed()).served, true);
    options.remotingConnectionsPerAddressMax = 100;
    options.remotingAllowedPeers = "10.0.0.0/8, fd00::/8";
    assert.equal((await isServed()).served, false);
    options.remotingAllowedPeers += ", 127.0.0.0/8";
    assert.equal((await isServed()).served, true);
    assert.deepEqual([server.closeCounts.tooManyFromAddress, server.closeCounts.notAllowed], [1, 1]);
    assert.match(lines.join("\n"), /tooManyFromAddress[^]*notAllowed/);
  });

  it("counts what it holds back to nothing once requests are whole, answers written and connections gone", async () => {
    const { server, address, port } = await startServer();
    const client = makeClient();
    const body = new Uint8Array(3_000_000);
    await Promise.all([1, 2, 3].map(() => client.invoke(address, createRequest(ECHO, {}, body), 10_000)));
    await waitFor("nothing is held", () => server.heldBytes === 0);
    const socket = await connectRaw(port);
    await socket.write(encodeFrame(createRequest(ECHO, {}, body)).subarray(0, 50_000));
    await waitFor("a part is held", () => server.heldBytes >= 50_000);
    socket.close();
    await waitFor("nothing is held again", () => server.heldBytes === 0);
  });

  it("tells of each connection that has ended, by whichever side", async () => {
    const ended: RemotingConnection[] = [];
    const { server, port } = await startServer({ onConnectionClosed: (connection) => ended.push(connection) });
    const one = await connectRaw(port);
    await connectRaw(port);
    await waitFor("two connections", () => server.connectionCount === 2);
    one.close();
    await waitFor("one end", () => ended.length === 1);
    assert.equal(server.connectionCount, 1);
    await server.stop();
    assert.equal(ended.length, 2);
    assert.ok(ended.every((connection) => connection.closed));
  });

  it("answers that a body beyond a frame can't be sent", async () => {
    const processors: ProcessorTable = new Map<number, RequestProcessor>([
      [1, (request) => createResponse(request, 0, { body: new Uint8Array(16_777_216) })],
    ]);
    const { address } = await startServer({ processors });
    const answer = await makeClient().invoke(address, createRequest(1), 5000);
    assert.equal(answer.code, 1);
    assert.match(answer.remark!, /16777216 bytes/);
  });
});
