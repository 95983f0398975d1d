// The contract of Net, Connection and Listener as tests, for every adapter and for the simulated network.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Connection } from "../../src/runtime/runtime.ts";
import type { Abilities, Conduct, ConformanceEnv } from "./env.ts";
import {
  closePair,
  connectPair,
  pattern,
  patternByte,
  readExactly,
  readPatternToEnd,
  rejectsWith,
  settlesWithin,
} from "./support.ts";

const MIB = 1024 * 1024;
const STALLED_MS = 300;

/** Registers the tests of Net under `name`. */
export function runNetConformance(name: string, conduct: Conduct, abilities: Abilities): void {
  const test = (what: string, body: (env: ConformanceEnv) => Promise<void>): void => {
    it(what, () => conduct(body));
  };
  /** Skipped, with the reason in its name, where it is not promised. */
  const testIf = (able: true | string, what: string, body: (env: ConformanceEnv) => Promise<void>): void => {
    if (able === true) test(what, body);
    else it.skip(`${what} (${able})`, () => {});
  };

  describe(`${name}: listening and connecting`, () => {
    test("tells the addresses of both ends", async (env) => {
      const pair = await connectPair(env);
      assert.ok(pair.listener.address.port > 0);
      assert.equal(pair.listener.address.hostname, env.hostname);
      assert.deepEqual(pair.client.remoteAddress, pair.listener.address);
      assert.deepEqual(pair.server.localAddress, pair.listener.address);
      assert.deepEqual(pair.client.localAddress, pair.server.remoteAddress);
      closePair(pair);
    });

    test("refuses a connection where nobody listens", async (env) => {
      const listener = await env.runtime.net.listen({ hostname: env.hostname, port: 0 });
      const { port } = listener.address;
      listener.close();
      await aTurn(env);
      await rejectsWith(env.runtime.net.connect({ hostname: env.hostname, port, timeoutMs: 5_000 }), "refused");
    });

    test("refuses to listen twice on one port, and frees it on close", async (env) => {
      const { net } = env.runtime;
      const first = await net.listen({ hostname: env.hostname, port: 0 });
      const { port } = first.address;
      await rejectsWith(net.listen({ hostname: env.hostname, port }), "inUse");
      await rejectsWith(net.listen({ hostname: "192.0.2.9", port: 0 }), "noAddress");
      await rejectsWith(net.listen({ hostname: "nohost.invalid", port: 0 }), "noAddress");
      first.close();
      await aTurn(env);
      const second = await net.listen({ hostname: env.hostname, port });
      assert.equal(second.address.port, port);
      second.close();
    });

    test("listens again on a port whose connections were closed just now", async (env) => {
      const pair = await connectPair(env);
      closePair(pair);
      await Promise.all([pair.client.closed, pair.server.closed]);
      await aTurn(env);
      const again = await env.runtime.net.listen(pair.listener.address);
      again.close();
    });

    test("ends a pending and every later accept with null once closed", async (env) => {
      const listener = await env.runtime.net.listen({ hostname: env.hostname, port: 0 });
      const pending = listener.accept();
      listener.close();
      listener.close();
      assert.equal(await pending, null);
      assert.equal(await listener.accept(), null);
    });

    test("keeps accepted connections when the listener closes", async (env) => {
      const { listener, client, server } = await connectPair(env);
      listener.close();
      await client.write(pattern(3));
      assert.deepEqual(await readExactly(server, 3), pattern(3));
      client.close();
      server.close();
    });

    test("closes connections that nobody accepted", async (env) => {
      const listener = await env.runtime.net.listen({ hostname: env.hostname, port: 0 });
      const client = await env.runtime.net.connect({ ...listener.address, timeoutMs: 5_000 });
      listener.close();
      // Ended or reset: that depends on how far the connection had come.
      const end = await client.read().catch(() => null);
      assert.equal(end, null);
      client.close();
    });

    test("carries 1,000 connections at once", async (env) => {
      const listener = await env.runtime.net.listen({ hostname: env.hostname, port: 0 });
      const servers: Connection[] = [];
      const serving = (async () => {
        for (let i = 0; i < 1_000; i++) {
          const server = await listener.accept();
          assert.ok(server);
          servers.push(server);
        }
      })();
      const clients: Connection[] = [];
      while (clients.length < 1_000) {
        const some = Array.from(
          { length: 50 },
          () => env.runtime.net.connect({ ...listener.address, timeoutMs: 20_000 }),
        );
        clients.push(...await Promise.all(some));
      }
      await serving;
      await Promise.all(
        servers.map(async (server) => {
          const byte = await readExactly(server, 1);
          await server.write(byte);
        }).concat(clients.map(async (client, i) => {
          await client.write(pattern(1, i));
          assert.deepEqual(await readExactly(client, 1), pattern(1, i));
        })),
      );
      for (const connection of [...clients, ...servers]) connection.close();
      listener.close();
    });

    testIf(abilities.silentPeer, "gives up connecting after the time-out", async (env) => {
      const peer = await env.silentPeer();
      const start = env.runtime.clock.monotonic();
      await rejectsWith(
        env.runtime.net.connect({ hostname: peer.hostname, port: peer.port, timeoutMs: 200 }),
        "timeout",
      );
      assert.ok(env.runtime.clock.monotonic() - start >= 199);
      await peer.release();
    });
  });

  describe(`${name}: bytes`, () => {
    test("carries bytes both ways at once", async (env) => {
      const pair = await connectPair(env);
      const size = 3 * MIB;
      const [atServer, atClient] = await Promise.all([
        readExactly(pair.server, size),
        readExactly(pair.client, size),
        pair.client.write(pattern(size)),
        pair.server.write(pattern(size, 7)),
      ]);
      assert.ok(Buffer.from(atServer).equals(pattern(size)));
      assert.ok(Buffer.from(atClient).equals(pattern(size, 7)));
      closePair(pair);
    });

    for (const from of ["client", "server"] as const) {
      test(`carries a write of 32 MiB whole, from the ${from}`, async (env) => {
        const pair = await connectPair(env);
        const [writer, reader] = from === "client" ? [pair.client, pair.server] : [pair.server, pair.client];
        const [count] = await Promise.all([
          readPatternToEnd(reader),
          writer.write(pattern(32 * MIB)).then(() => writer.shutdownWrite()),
        ]);
        assert.equal(count, 32 * MIB);
        closePair(pair);
      });
    }

    test("carries writes of one byte, coalesced or not", async (env) => {
      const pair = await connectPair(env);
      const reading = readPatternToEnd(pair.server);
      for (let i = 0; i < 500; i++) await pair.client.write(pattern(1, i));
      await pair.client.shutdownWrite();
      assert.equal(await reading, 500);
      closePair(pair);
    });

    test("carries 300 rounds of 8 bytes there and 1 byte back", async (env) => {
      const pair = await connectPair(env);
      const echo = (async () => {
        for (let i = 0; i < 300; i++) {
          const report = await readExactly(pair.server, 8);
          await pair.server.write(report.slice(0, 1));
        }
      })();
      for (let i = 0; i < 300; i++) {
        await pair.client.write(pattern(8, i));
        assert.deepEqual(await readExactly(pair.client, 1), pattern(1, i));
      }
      await echo;
      closePair(pair);
    });

    test("keeps a read view unchanged until the next read", async (env) => {
      const pair = await connectPair(env);
      await pair.client.write(pattern(100));
      const view = await pair.server.read();
      assert.ok(view);
      const first = view.slice();
      await pair.client.write(pattern(MIB, 100));
      // Gives the adapter every chance to overwrite what it lent.
      await settlesWithin(env, pair.server.closed, 20);
      assert.deepEqual(view, first);
      const rest = await readExactly(pair.server, 100 + MIB - first.length);
      assert.ok(Buffer.from(rest).equals(pattern(100 + MIB - first.length, first.length)));
      closePair(pair);
    });

    test("does not touch the bytes of a finished write when the caller reuses them", async (env) => {
      const pair = await connectPair(env);
      const buffer = new Uint8Array(64 * 1024);
      const reading = readPatternToEnd(pair.server);
      for (let round = 0; round < 64; round++) {
        for (let i = 0; i < buffer.length; i++) buffer[i] = patternByte(round * buffer.length + i);
        await pair.client.write(buffer);
        buffer.fill(255);
      }
      await pair.client.shutdownWrite();
      assert.equal(await reading, 64 * buffer.length);
      closePair(pair);
    });

    test("takes an empty write", async (env) => {
      const pair = await connectPair(env);
      await pair.client.write(new Uint8Array(0));
      await pair.client.write(pattern(1));
      assert.deepEqual(await readExactly(pair.server, 1), pattern(1));
      closePair(pair);
    });

    test("rejects or throws on a second write or read while one is pending", async (env) => {
      const pair = await connectPair(env);
      const writing = pair.client.write(new Uint8Array(64 * MIB));
      await assert.rejects(async () => await pair.client.write(pattern(1)));
      const reading = pair.client.read();
      await assert.rejects(async () => await pair.client.read());
      closePair(pair);
      await assert.rejects(writing);
      await assert.rejects(reading);
    });
  });

  describe(`${name}: a stopped reader`, () => {
    for (const from of ["client", "server"] as const) {
      test(`stops a ${from} with 64 MiB to send, and loses nothing`, async (env) => {
        const pair = await connectPair(env);
        const [writer, reader] = from === "client" ? [pair.client, pair.server] : [pair.server, pair.client];
        const piece = pattern(251 * 1024);
        const pieces = Math.ceil(64 * MIB / piece.length);
        let accepted = 0;
        const writing = (async () => {
          for (let i = 0; i < pieces; i++) {
            await writer.write(piece);
            accepted += piece.length;
          }
          await writer.shutdownWrite();
        })();
        const first = await reader.read();
        assert.ok(first);
        let taken = first.length;
        assert.equal(await settlesWithin(env, writing, STALLED_MS), false);
        const atStall = accepted;
        assert.ok(atStall - taken < 24 * MIB, `${atStall} bytes went into buffers`);
        assert.equal(await settlesWithin(env, writing, STALLED_MS), false);
        assert.ok(accepted - atStall <= 2 * MIB, `${accepted - atStall} more bytes went in while nobody read`);
        taken += await readToEnd(reader);
        await writing;
        assert.equal(taken, pieces * piece.length);
        closePair(pair);
      });
    }

    test("holds back one write of 64 MiB", async (env) => {
      const pair = await connectPair(env);
      const writing = pair.client.write(pattern(64 * MIB)).then(() => pair.client.shutdownWrite());
      assert.equal(await settlesWithin(env, writing, STALLED_MS), false);
      assert.equal(await readPatternToEnd(pair.server), 64 * MIB);
      await writing;
      closePair(pair);
    });

    test("does not hold up the opposite direction", async (env) => {
      const pair = await connectPair(env);
      const writing = pair.client.write(new Uint8Array(64 * MIB));
      assert.equal(await settlesWithin(env, writing, 50), false);
      for (let i = 0; i < 50; i++) {
        await pair.server.write(pattern(8, i));
        assert.deepEqual(await readExactly(pair.client, 8), pattern(8, i));
      }
      closePair(pair);
      await rejectsWith(writing, "closed");
    });
  });

  describe(`${name}: endings`, () => {
    for (const first of ["client", "server"] as const) {
      testIf(abilities.halfClose, `half-close: the ${first} ends its direction and still reads`, async (env) => {
        const pair = await connectPair(env);
        const [ender, other] = first === "client" ? [pair.client, pair.server] : [pair.server, pair.client];
        await ender.write(pattern(10));
        await ender.shutdownWrite();
        assert.equal(await readPatternToEnd(other), 10);
        assert.equal(await other.read(), null);
        await other.write(pattern(2 * MIB).subarray(0, 100));
        assert.deepEqual(await readExactly(ender, 100), pattern(100));
        const [count] = await Promise.all([
          readPatternToEnd(ender),
          other.write(pattern(2 * MIB)).then(() => other.shutdownWrite()),
        ]);
        assert.equal(count, 2 * MIB);
        closePair(pair);
        await Promise.all([ender.closed, other.closed]);
      });
    }

    testIf(abilities.halfClose, "closes by itself once both directions ended", async (env) => {
      const pair = await connectPair(env);
      await pair.client.shutdownWrite();
      assert.equal(await pair.server.read(), null);
      await pair.server.shutdownWrite();
      assert.equal(await pair.client.read(), null);
      await Promise.all([pair.client.closed, pair.server.closed]);
      assert.equal(await pair.client.read(), null);
      pair.listener.close();
    });

    testIf(abilities.halfClose, "delivers what waits unread when both directions ended", async (env) => {
      const pair = await connectPair(env);
      await pair.client.shutdownWrite();
      assert.equal(await pair.server.read(), null);
      await pair.server.write(pattern(200_000));
      await pair.server.shutdownWrite();
      await settlesWithin(env, pair.client.closed, 50);
      assert.equal(await readPatternToEnd(pair.client), 200_000);
      closePair(pair);
    });

    testIf(abilities.halfClose, "delivers more than the buffers hold after both directions ended", async (env) => {
      const pair = await connectPair(env);
      await pair.client.shutdownWrite();
      assert.equal(await pair.server.read(), null);
      const writing = pair.server.write(pattern(16 * MIB)).then(() => pair.server.shutdownWrite());
      assert.equal(await settlesWithin(env, writing, 50), false);
      assert.equal(await readPatternToEnd(pair.client), 16 * MIB);
      await writing;
      closePair(pair);
    });

    test("close with a pending write ends the stream for a stopped peer, too", async (env) => {
      const pair = await connectPair(env);
      const writing = pair.client.write(new Uint8Array(64 * MIB));
      assert.equal(await settlesWithin(env, writing, 50), false);
      pair.client.close();
      await rejectsWith(writing, "closed");
      const taken = await readToEnd(pair.server).catch(() => 0);
      assert.ok(taken < 64 * MIB);
      closePair(pair);
    });

    testIf(abilities.lastWords, "delivers what was written before close", async (env) => {
      const pair = await connectPair(env);
      await pair.client.write(pattern(1_000));
      pair.client.close();
      assert.equal(await readPatternToEnd(pair.server), 1_000);
      closePair(pair);
    });

    test("fails a pending read with closed, and later calls too", async (env) => {
      const pair = await connectPair(env);
      const reading = pair.client.read();
      pair.client.close();
      await rejectsWith(reading, "closed");
      await pair.client.closed;
      await rejectsWith((async () => await pair.client.read())(), "closed");
      await rejectsWith((async () => await pair.client.write(pattern(1)))(), "closed");
      await rejectsWith((async () => await pair.client.shutdownWrite())(), "closed");
      pair.client.close();
      closePair(pair);
    });

    test("fails a pending write with closed", async (env) => {
      const pair = await connectPair(env);
      const writing = pair.client.write(new Uint8Array(64 * MIB));
      assert.equal(await settlesWithin(env, writing, 50), false);
      pair.client.close();
      await rejectsWith(writing, "closed");
      await pair.client.closed;
      closePair(pair);
    });

    // Closing while received bytes were not read is how TCP resets a connection.
    test("reset: fails the pending write of the peer", async (env) => {
      const pair = await connectPair(env);
      const writing = pair.client.write(new Uint8Array(64 * MIB));
      assert.equal(await settlesWithin(env, writing, 50), false);
      pair.server.close();
      await rejectsWith(writing, "reset");
      await pair.client.closed;
      closePair(pair);
    });

    test("reset: fails the pending read of the peer", async (env) => {
      const pair = await connectPair(env);
      const writing = pair.client.write(new Uint8Array(64 * MIB));
      const reading = pair.client.read();
      assert.equal(await settlesWithin(env, writing, 50), false);
      pair.server.close();
      await rejectsWith(reading, "reset");
      await rejectsWith(writing, "reset");
      await rejectsWith((async () => await pair.client.read())(), "reset");
      closePair(pair);
    });

    test("reset: writing to a peer that is gone fails in the end", async (env) => {
      const pair = await connectPair(env);
      pair.server.close();
      await pair.server.closed;
      const writing = (async () => {
        while (true) await pair.client.write(new Uint8Array(64 * 1024));
      })();
      await rejectsWith(writing, "reset");
      closePair(pair);
    });
  });
}

async function readToEnd(connection: Connection): Promise<number> {
  let count = 0;
  for (let chunk = await connection.read(); chunk !== null; chunk = await connection.read()) count += chunk.length;
  return count;
}

/** A port is free a turn after its listener was closed. */
function aTurn(env: ConformanceEnv): Promise<unknown> {
  return settlesWithin(env, new Promise(() => {}), 1);
}
