// When answers leave: small ones, and those of small requests, together, large ones before the next request is begun.

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { concatBytes } from "../../src/base/bytes.ts";
import { RemotingConnection } from "../../src/remoting/remoting_connection.ts";
import { createRequest, createResponse, encodeFrame } from "../../src/remoting/remoting_command.ts";
import type { Connection } from "../../src/runtime/runtime.ts";
import { ManualClock } from "./support.ts";

/**
 * What happens when requests of these body sizes come with one read and are answered with bodies of those; `putting`: at
 * the end of a turn, after a write to the log.
 */
async function eventsOf(
  sizes: readonly { asked: number; answered: number }[],
  how: "atOnce" | "putting" = "atOnce",
): Promise<string[]> {
  const events: string[] = [];
  let turn: Promise<void> | null = null;
  const frames = sizes.map(({ asked }, opaque) =>
    encodeFrame({ ...createRequest(1, {}, new Uint8Array(asked)), opaque })
  );
  const chunks = [concatBytes(frames)];
  const connection: Connection = {
    localAddress: { hostname: "127.0.0.1", port: 1 },
    remoteAddress: { hostname: "127.0.0.1", port: 2 },
    closed: Promise.resolve(),
    // The peer closes once it has been answered.
    read: () => chunks.length > 0 ? Promise.resolve(chunks.shift()!) : new Promise((end) => setTimeout(end, 0, null)),
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
      const answer = createResponse(request, 0, { body: new Uint8Array(sizes[request.opaque]!.answered) });
      if (how === "atOnce") return answer;
      turn ??= Promise.resolve().then(() => {
        turn = null;
        events.push("log");
      });
      return turn.then(() => answer);
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

  it("writes what they put before it begins the next ones", async () => {
    const events = await eventsOf(Array.from({ length: 10 }, () => ({ asked: 16_384, answered: 100 })), "putting");
    assert.deepEqual(events.filter((event) => event !== "write"), [..."0123", "log", ..."4567", "log", ..."89", "log"]);
    assert.equal(events.at(-1), "write");
  });

  it("writes large answers as soon as 128 KiB of them wait", async () => {
    const events = await eventsOf(Array.from({ length: 6 }, () => ({ asked: 100, answered: 60_000 })));
    assert.deepEqual(events.slice(0, 4), ["0", "1", "2", "write"]);
  });

  it("writes the answer of a huge request, and a huge answer, before it begins the next request", async () => {
    const events = ["0", "write", "1", "write", "2", "write"];
    assert.deepEqual(await eventsOf([0, 1, 2].map(() => ({ asked: 65_536, answered: 100 }))), events);
    // Its body is a piece of its own.
    const answers = await eventsOf([0, 1, 2].map(() => ({ asked: 100, answered: 131_072 })));
    assert.deepEqual(answers.slice(0, 5), ["0", "write", "1", "write", "2"]);
  });
});
