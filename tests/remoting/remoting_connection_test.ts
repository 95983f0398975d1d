// When answers leave: small ones, and those of small requests, together, large ones before the next request is begun.

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { concatBytes } from "../../src/base/bytes.ts";
import { RemotingConnection } from "../../src/remoting/remoting_connection.ts";
import { createRequest, createResponse, encodeFrame } from "../../src/remoting/remoting_command.ts";
import type { Connection } from "../../src/runtime/runtime.ts";
import { ManualClock } from "./support.ts";

/** What happens when requests of these body sizes come with one read and are answered with bodies of those. */
async function eventsOf(sizes: readonly { asked: number; answered: number }[]): Promise<string[]> {
  const events: string[] = [];
  const frames = sizes.map(({ asked }, opaque) =>
    encodeFrame({ ...createRequest(1, {}, new Uint8Array(asked)), opaque })
  );
  const chunks: (Uint8Array | null)[] = [concatBytes(frames), null];
  const connection: Connection = {
    localAddress: { hostname: "127.0.0.1", port: 1 },
    remoteAddress: { hostname: "127.0.0.1", port: 2 },
    closed: Promise.resolve(),
    read: () => Promise.resolve(chunks.shift()!),
    write: () => {
      events.push("write");
      return Promise.resolve();
    },
    shutdownWrite: () => Promise.resolve(),
    close() {},
  };
  const remoting = new RemotingConnection(connection, {
    clock: new ManualClock(),
    idleTimeoutMs: 120_000,
    onClose: () => {},
    onRequest: (request) => {
      events.push(String(request.opaque));
      return createResponse(request, 0, { body: new Uint8Array(sizes[request.opaque]!.answered) });
    },
  });
  await remoting.run();
  return events;
}

describe("RemotingConnection", () => {
  it("writes the answers of small requests together", async () => {
    const sizes = Array.from({ length: 4 }, () => ({ asked: 1000, answered: 100 }));
    assert.deepEqual(await eventsOf(sizes), ["0", "1", "2", "3", "write"]);
  });

  it("writes the answers of large requests as soon as 64 KiB of them are begun", async () => {
    const events = ["0", "1", "2", "3", "write", "4", "5", "write"];
    assert.deepEqual(await eventsOf(Array.from({ length: 6 }, () => ({ asked: 16_384, answered: 100 }))), events);
  });

  it("writes the answer of a huge request, and a large answer, before it begins the next request", async () => {
    const events = ["0", "write", "1", "write", "2", "write"];
    assert.deepEqual(await eventsOf([0, 1, 2].map(() => ({ asked: 65_536, answered: 100 }))), events);
    assert.deepEqual(await eventsOf([0, 1, 2].map(() => ({ asked: 100, answered: 40_000 }))), events);
  });
});
