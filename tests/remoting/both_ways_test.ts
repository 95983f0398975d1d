// Requests in both directions over one connection, one-way requests, the VIP port's table, and a server that stops.

import { afterEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { deferred } from "../../src/base/async.ts";
import { concatBytes } from "../../src/base/bytes.ts";
import { IoError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { FrameDecoder } from "../../src/remoting/frame_decoder.ts";
import { RemotingClient, type RemotingClientOptions } from "../../src/remoting/remoting_client.ts";
import {
  createRequest,
  createResponse,
  encodeFrame,
  type RemotingCommand,
} from "../../src/remoting/remoting_command.ts";
import type { RemotingConnection } from "../../src/remoting/remoting_connection.ts";
import {
  type ProcessorTable,
  RemotingServer,
  type RemotingServerOptions,
  type RequestProcessor,
} from "../../src/remoting/remoting_server.ts";
import { withoutPulls } from "../../src/remoting/vip_processors.ts";
import type { Connection } from "../../src/runtime/runtime.ts";
import { ManualClock, recordingLogger, runtime, waitFor } from "./support.ts";

const HOSTNAME = "127.0.0.1";
const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startServer(table: [number, RequestProcessor][], options: Partial<RemotingServerOptions> = {}) {
  const processors: ProcessorTable = new Map(table);
  const { net, clock } = runtime;
  const server = new RemotingServer({
    net,
    clock,
    logger: SILENT_LOGGER,
    processors,
    hostname: HOSTNAME,
    port: 0,
    ...options,
  });
  const { port } = await server.start();
  cleanups.push(() => server.stop());
  return { server, port, address: `${HOSTNAME}:${port}` };
}

function makeClient(options: Partial<RemotingClientOptions> = {}): RemotingClient {
  const client = new RemotingClient({ net: runtime.net, clock: runtime.clock, ...options });
  cleanups.push(() => client.close());
  return client;
}

/** A bare socket that reads frames. */
async function connectRaw(port: number) {
  const socket: Connection = await runtime.net.connect({ hostname: HOSTNAME, port, timeoutMs: 5000 });
  cleanups.push(() => socket.close());
  const decoder = new FrameDecoder();
  return {
    send: (...requests: RemotingCommand[]) => socket.write(concatBytes(requests.map((each) => encodeFrame(each)))),
    async next(): Promise<RemotingCommand | null> {
      for (;;) {
        const command = decoder.next();
        if (command !== null) return command;
        const chunk = await socket.read().catch(() => null);
        if (chunk === null) return null;
        decoder.push(chunk);
      }
    },
  };
}

describe("requests of the server on a client's connection", () => {
  it("have opaques of their own: equal ones cross without being mixed up", async () => {
    let connection: RemotingConnection | null = null;
    const { port } = await startServer([[1, (request, context) => {
      connection = context.connection;
      return createResponse(request, 0, { remark: "the server's answer" });
    }]]);
    const raw = await connectRaw(port);
    await raw.send({ ...createRequest(1), opaque: 0 });
    assert.equal((await raw.next())!.remark, "the server's answer");
    // The server's first request has the opaque that the client's first one had, and will have again.
    const asked = connection!.invoke(createRequest(220, { topic: "T" }), 5000);
    const request = (await raw.next())!;
    assert.deepEqual([request.code, request.opaque, request.flag], [220, 0, 0]);
    await raw.send({ ...createRequest(1), opaque: 0 });
    assert.equal((await raw.next())!.remark, "the server's answer");
    await raw.send(createResponse(request, 17, { remark: "the client's answer" }));
    const answer = await asked;
    assert.deepEqual([answer.code, answer.remark], [17, "the client's answer"]);
  });

  it("are answered while the client's own request is under way", async () => {
    const { address } = await startServer([[1, async (request, { connection }) => {
      const answer = await connection.invoke(createRequest(307), 5000);
      return createResponse(request, 0, { body: answer.body });
    }]]);
    const client = makeClient({
      onRequest: (request) => createResponse(request, 0, { body: Uint8Array.of(request.code - 256) }),
    });
    const answers = await Promise.all([1, 2, 3].map(() => client.invoke(address, createRequest(1), 5000)));
    assert.deepEqual(answers.map(({ body }) => [...body]), [[51], [51], [51]]);
  });

  it("may go unanswered: the connection lives on, and a late answer is dropped", async () => {
    const clock = new ManualClock();
    let connection: RemotingConnection | null = null;
    const { port, server } = await startServer([[1, (request, context) => {
      connection = context.connection;
      return createResponse(request, 0);
    }]], { clock });
    const raw = await connectRaw(port);
    await raw.send({ ...createRequest(1), opaque: 7 });
    await raw.next();
    const asked = connection!.invoke(createRequest(307), 3000);
    asked.catch(() => {});
    const request = (await raw.next())!;
    clock.advance(3000);
    await assert.rejects(asked, (error) => error instanceof IoError && error.kind === "timeout");
    await raw.send(createResponse(request, 0), { ...createRequest(1), opaque: 8 });
    assert.equal((await raw.next())!.opaque, 8);
    assert.equal(server.connectionCount, 1);
  });

  it("fail when the connection ends", async () => {
    let connection: RemotingConnection | null = null;
    const { address } = await startServer([[1, (request, context) => {
      connection = context.connection;
      return createResponse(request, 0);
    }]]);
    const client = makeClient({ onRequest: () => null });
    await client.invoke(address, createRequest(1), 5000);
    const asked = connection!.invoke(createRequest(307), 5000);
    asked.catch(() => {});
    await client.disconnect(address);
    await assert.rejects(asked, (error) => error instanceof IoError && error.kind === "closed");
    assert.throws(() => connection!.invokeOneway(createRequest(40)), IoError);
  });
});

describe("one-way requests", () => {
  it("are never answered: not by a return, not later, not with an error, not as an unknown code", async () => {
    const { server, port } = await startServer([
      [1, (request) => createResponse(request, 0)],
      [2, async (request) => await Promise.resolve(createResponse(request, 0))],
      [3, () => Promise.reject(new Error("No"))],
      [4, (request, { connection }) => {
        queueMicrotask(() => connection.respond(createResponse(request, 0)));
        return null;
      }],
    ]);
    const raw = await connectRaw(port);
    await raw.send(...[1, 2, 3, 4, 5].map((code) => ({ ...createRequest(code), flag: 2, opaque: code })));
    await raw.send({ ...createRequest(1), opaque: 99 });
    assert.equal((await raw.next())!.opaque, 99);
    assert.equal(server.requestCount, 6);
  });

  it("of the server carry the mark", async () => {
    const { port } = await startServer([[1, (request, { connection }) => {
      connection.invokeOneway(createRequest(40, { consumerGroup: "g" }));
      return createResponse(request, 0);
    }]]);
    const raw = await connectRaw(port);
    await raw.send({ ...createRequest(1), opaque: 5 });
    const notice = (await raw.next())!;
    assert.deepEqual([notice.code, notice.flag, notice.extFields.get("consumerGroup")], [40, 2, "g"]);
    assert.equal((await raw.next())!.opaque, 5);
  });
});

describe("a server that stops", () => {
  it("answers what is under way, and new requests of 5.3.2 and later with GO_AWAY", async () => {
    const result = deferred<void>();
    const { server, port } = await startServer([
      [1, async (request) => {
        await result.promise;
        return createResponse(request, 0, { remark: "done" });
      }],
      [2, (request) => createResponse(request, 0)],
    ]);
    const raw = await connectRaw(port);
    await raw.send({ ...createRequest(1), opaque: 1 });
    await waitFor("the request", () => server.requestCount === 1);
    const stopped = server.stop();
    await raw.send({ ...createRequest(2), opaque: 2 }, { ...createRequest(2), opaque: 3, version: 475 });
    await raw.send({ ...createRequest(2), opaque: 4, flag: 2 }, { ...createRequest(99), opaque: 5 });
    const answers = [await raw.next(), await raw.next(), await raw.next()].map((each) => each!);
    assert.deepEqual(answers.map(({ opaque, code }) => [opaque, code]), [[2, 1500], [3, 0], [5, 3]]);
    assert.equal(answers[0]!.remark, "please go away");
    result.resolve();
    assert.deepEqual([(await raw.next())!.remark, await raw.next()], ["done", null]);
    await stopped;
    assert.equal(server.connectionCount, 0);
  });

  it("waits for 3 s at most, and not at all for a request that is held", async () => {
    const clock = new ManualClock();
    const { server, port } = await startServer([[1, () => new Promise(() => {})], [2, () => null]], { clock });
    const raw = await connectRaw(port);
    await raw.send({ ...createRequest(1), opaque: 1 });
    await waitFor("the request", () => server.requestCount === 1);
    const stopped = server.stop();
    assert.ok(clock.ringsIn(3000));
    clock.advance(3000);
    await stopped;
    assert.deepEqual([await raw.next(), clock.timerCount], [null, 0]);

    const other = await startServer([[2, () => null]], { clock });
    const holding = await connectRaw(other.port);
    await holding.send({ ...createRequest(2), opaque: 1 });
    await waitFor("the other request", () => other.server.requestCount === 1);
    await other.server.stop();
    assert.deepEqual([await holding.next(), clock.timerCount], [null, 0]);
  });

  it("is left by our client, which asks once more on a new connection", async () => {
    let away = true;
    const connections = new Set<RemotingConnection>();
    const { address } = await startServer([[1, (request, { connection }) => {
      connections.add(connection);
      const code = away ? 1500 : 0;
      away = false;
      return createResponse(request, code);
    }]]);
    const client = makeClient();
    assert.equal((await client.invoke(address, createRequest(1), 5000)).code, 0);
    assert.equal(connections.size, 2);
    // A second time it is what it is.
    away = true;
    const always = await startServer([[1, (request) => createResponse(request, 1500)]]);
    assert.equal((await client.invoke(always.address, createRequest(1), 5000)).code, 1500);
  });
});

describe("the VIP port", () => {
  it("lacks pulls and pops and has all else", async () => {
    const codes = [10, 11, 34, 310, 361, 200050, 200051, 200052, 200053, 200054, 200055, 200151];
    const table = new Map(codes.map((code): [number, RequestProcessor] => [code, (each) => createResponse(each, 0)]));
    assert.deepEqual([...withoutPulls(table).keys()], [10, 34, 310, 200051, 200053, 200151]);
    const { address } = await startServer([...withoutPulls(table)]);
    const answer = await makeClient().invoke(address, createRequest(11), 5000);
    assert.deepEqual([answer.code, answer.remark], [3, " request type 11 not supported"]);
  });
});

describe("an answer that can't be written", () => {
  it("ends its connection, and nothing else", async () => {
    const broken = (request: RemotingCommand) =>
      ({ ...createResponse(request, 0), extFields: new Map([["a", undefined]]) }) as unknown as RemotingCommand;
    const { logger, lines } = recordingLogger();
    const { server, port } = await startServer([
      [1, broken],
      [2, async (request) => await Promise.resolve(broken(request))],
      [3, (request) => createResponse(request, 0)],
    ], { logger });
    for (const code of [1, 2]) {
      const raw = await connectRaw(port);
      await raw.send({ ...createRequest(code), opaque: 1 });
      assert.equal(await raw.next(), null);
    }
    assert.deepEqual([server.closeCounts.error, lines.length], [2, 2]);
    assert.match(lines[0]!, /Request failed/);
    const raw = await connectRaw(port);
    await raw.send({ ...createRequest(3), opaque: 1 });
    assert.equal((await raw.next())!.code, 0);
  });
});
