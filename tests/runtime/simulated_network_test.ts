// The simulated network's faults between hosts, beyond the contract that the conformance suite checks on one.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IoError, type IoErrorKind } from "../../src/base/errors.ts";
import type { Connection, Listener } from "../../src/runtime/runtime.ts";
import { type NetworkOptions, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";

const PORT = 10_912;

interface Joined {
  readonly world: SimulatedWorld;
  readonly listener: Listener;
  /** On host "a". */
  readonly client: Connection;
  /** On host "b". */
  readonly server: Connection;
}

async function join(network: Partial<NetworkOptions> = {}, seed = 1): Promise<Joined> {
  const world = new SimulatedWorld(seed, { network });
  const [a, b] = [world.host("a"), world.host("b")];
  const listener = await b.runtime.net.listen({ hostname: "0.0.0.0", port: PORT });
  const connecting = a.runtime.net.connect({ hostname: "b", port: PORT, timeoutMs: 1_000 });
  const [client, server] = await world.drive(Promise.all([connecting, listener.accept()]));
  return { world, listener, client, server: server! };
}

/** What became of a promise so far. */
function watch<T>(promise: Promise<T>): { state: "pending" | "done" | IoErrorKind; value?: T } {
  const seen: { state: "pending" | "done" | IoErrorKind; value?: T } = { state: "pending" };
  promise.then((value) => {
    seen.state = "done";
    seen.value = value;
  }, (error: unknown) => {
    seen.state = error instanceof IoError ? error.kind : "other";
  });
  return seen;
}

async function readAll(connection: Connection): Promise<number[]> {
  const sizes: number[] = [];
  for (let chunk = await connection.read(); chunk !== null; chunk = await connection.read()) sizes.push(chunk.length);
  return sizes;
}

describe("simulated network: partitions", () => {
  it("holds bytes back while cut, and delivers them after", async () => {
    const { world, client, server } = await join();
    world.network.partition("a", "b");
    const reading = watch(server.read());
    await client.write(new Uint8Array(10));
    await world.advance(5_000);
    assert.equal(reading.state, "pending");
    assert.ok(world.network.counters.parked > 0);
    world.network.heal();
    await world.run(() => reading.state === "done", 5_000);
    assert.equal(reading.value?.length, 10);
  });

  it("cuts one direction only: bytes arrive, but no word of it comes back", async () => {
    const { world, client, server } = await join({ sendBufferSize: 4_096, receiveBufferSize: 4_096 });
    world.network.cut("b", "a");
    const toServer = watch(readAll(server));
    const writing = watch(client.write(new Uint8Array(64 * 1024)).then(() => client.shutdownWrite()));
    const toClient = watch(client.read());
    await server.write(new Uint8Array(1));
    await world.advance(10_000);
    assert.equal(writing.state, "pending");
    assert.equal(toClient.state, "pending");
    world.network.heal();
    await world.run(() => writing.state === "done" && toClient.state === "done" && toServer.state === "done", 60_000);
    assert.equal(toServer.value?.reduce((sum, size) => sum + size), 64 * 1024);
  });

  it("gives a connection up when nothing is acknowledged for long", async () => {
    const { world, client } = await join({ giveUpMs: 20_000 });
    world.network.isolate("b");
    await client.write(new Uint8Array(10));
    const reading = watch(client.read());
    await world.advance(19_000);
    assert.equal(reading.state, "pending");
    await world.advance(2_000);
    assert.equal(reading.state, "other");
    assert.equal(world.network.counters.giveUps, 1);
  });

  it("connects late when the way opens in time, else not at all", async () => {
    const { world, listener } = await join();
    const { net } = world.host("a").runtime;
    world.network.partition("a", "b");
    const first = watch(net.connect({ hostname: "10.0.0.2", port: PORT, timeoutMs: 500 }));
    const second = watch(net.connect({ hostname: "b", port: PORT, timeoutMs: 5_000 }));
    await world.advance(1_000);
    assert.deepEqual([first.state, second.state], ["timeout", "pending"]);
    world.network.heal("a", "b");
    const accepted = watch(listener.accept());
    await world.run(() => second.state === "done" && accepted.state === "done", 2_000);
    assert.equal(world.network.counters.connectTimeouts, 1);
  });

  it("clogs a direction without breaking the order", async () => {
    const { world, client, server } = await join();
    world.network.clog("a", "b", 3_000);
    const reading = watch(readAll(server));
    for (let i = 0; i < 10; i++) await client.write(new Uint8Array(10));
    await client.shutdownWrite();
    await world.advance(2_900);
    assert.equal(reading.state, "pending");
    await world.advance(200);
    assert.equal(reading.value?.reduce((sum, size) => sum + size), 100);
  });
});

describe("simulated network: endings", () => {
  it("leaves the peer of a host without power half-open, until it speaks to the next life", async () => {
    const { world, client } = await join();
    const reading = watch(client.read());
    world.host("b").crash();
    await world.advance(60_000);
    assert.equal(reading.state, "pending");
    await client.write(new Uint8Array(1));
    await world.advance(60_000);
    assert.equal(reading.state, "pending");
    world.host("b").restart();
    await world.run(() => reading.state !== "pending", 5_000);
    assert.equal(reading.state, "reset");
    assert.equal(world.network.connectionCount("a"), 0);
  });

  it("does not bring back what a host without power had not sent", async () => {
    const { world, client, server } = await join();
    const reading = watch(server.read());
    world.network.partition("a", "b");
    await client.write(new Uint8Array(10));
    await world.advance(1_000);
    world.host("a").crash();
    world.network.heal();
    world.host("a").restart();
    await world.advance(60_000);
    assert.equal(reading.state, "pending");
  });

  it("refuses or ignores a connection to a host that is down", async () => {
    const { world } = await join();
    const connect = () => watch(world.host("a").runtime.net.connect({ hostname: "b", port: PORT, timeoutMs: 800 }));
    world.host("b").kill();
    const refused = connect();
    await world.run(() => refused.state !== "pending", 100);
    assert.equal(refused.state, "refused");
    world.host("b").crash();
    const silent = connect();
    await world.run(() => silent.state !== "pending", 1_000);
    assert.equal(silent.state, "timeout");
  });

  it("has the kernel close for a killed program: what was written arrives, then the end", async () => {
    const { world, client, server } = await join();
    const reading = watch(readAll(server));
    await client.write(new Uint8Array(1_000));
    world.host("a").kill();
    await world.run(() => reading.state === "done", 1_000);
    assert.equal(reading.value?.reduce((sum, size) => sum + size), 1_000);
  });

  it("resets when asked, both ends", async () => {
    const { world, client, server } = await join();
    const ends = [watch(client.read()), watch(server.read())];
    assert.equal(world.network.resetConnections("a", "b"), 1);
    await world.run(() => ends.every((end) => end.state === "reset"), 1_000);
    await Promise.all([client.closed, server.closed]);
    assert.equal(world.network.connectionCount("a") + world.network.connectionCount("b"), 0);
  });

  it("never calls a dead program back", async () => {
    const { world, listener, server } = await join();
    const seen = [watch(server.read()), watch(listener.accept()), watch(server.closed)];
    let ticks = 0;
    world.host("b").runtime.clock.setTimer(10, () => ticks++);
    world.host("b").crash();
    world.host("b").restart();
    await world.advance(60_000);
    assert.deepEqual(seen.map((it) => it.state), ["pending", "pending", "pending"]);
    assert.equal(ticks, 0);
  });
});

describe("simulated network: faults by seed", () => {
  it("splits, glues, clogs and resets, and counts it", async () => {
    const { world } = await join();
    world.network.setOptions({
      splitPerMillion: 500_000,
      coalescePerMillion: 500_000,
      resetPerMillion: 5_000,
      clogPerMillion: 20_000,
      connectLossPerMillion: 100_000,
      segmentSizeMax: 1_000,
    });
    const listener = await world.host("b").runtime.net.listen({ hostname: "0.0.0.0", port: PORT + 1 });
    let failures = 0;
    const serve = async (connection: Connection): Promise<void> => {
      try {
        await readAll(connection);
      } catch {
        failures++;
      }
      connection.close();
    };
    const load = async (): Promise<void> => {
      for (let i = 0; i < 40; i++) {
        try {
          const client = await world.host("a").runtime.net.connect({ hostname: "b", port: PORT + 1, timeoutMs: 1_000 });
          await client.write(new Uint8Array(30_000));
          client.close();
        } catch {
          failures++;
        }
      }
      listener.close();
    };
    const accepting = (async () => {
      const running: Promise<void>[] = [];
      for (let it = await listener.accept(); it !== null; it = await listener.accept()) running.push(serve(it));
      await Promise.all(running);
    })();
    await world.drive(Promise.all([load(), accepting]));
    const { splits, coalescedReads, resets, clogs, connectsLost } = world.network.counters;
    for (const count of [splits, coalescedReads, resets, clogs, connectsLost]) assert.ok(count > 0);
    assert.ok(failures > 0);
  });

  it("takes a lent view back on the next read", async () => {
    const { world, client, server } = await join({ coalescePerMillion: 0, splitPerMillion: 0 });
    await client.write(new Uint8Array(100));
    const view = (await world.drive(server.read()))!;
    assert.ok(view.every((byte) => byte === 0));
    void server.read().catch(() => {});
    assert.ok(view.every((byte) => byte !== 0));
    client.close();
  });

  it("bounds what waits for accept: the next ones are late, or time out", async () => {
    const world = new SimulatedWorld(3, { network: { backlog: 2 } });
    const { net } = world.host("a").runtime;
    const listener = await net.listen({ hostname: "127.0.0.1", port: 0 });
    const connect = (timeoutMs: number) => watch(net.connect({ ...listener.address, timeoutMs }));
    const all = [connect(500), connect(500), connect(500), connect(5_000)];
    await world.advance(900);
    const pending = all.filter((it) => it.state === "pending");
    assert.equal(all.filter((it) => it.state === "done").length, 2);
    const accepted = watch(listener.accept());
    await world.advance(3_000);
    assert.equal(accepted.state, "done");
    assert.ok(pending.length <= 2 && world.network.counters.backlogOverflows > 0);
  });

  it("keeps ports per host and address, and knows its names", async () => {
    const world = new SimulatedWorld(4);
    const [a, b] = [world.host("a"), world.host("b")];
    const isKind = (kind: IoErrorKind) => (error: unknown) => error instanceof IoError && error.kind === kind;
    await a.runtime.net.listen({ hostname: a.address, port: PORT });
    await b.runtime.net.listen({ hostname: "b", port: PORT });
    await a.runtime.net.listen({ hostname: "127.0.0.1", port: PORT });
    await assert.rejects(a.runtime.net.listen({ hostname: "0.0.0.0", port: PORT }), isKind("inUse"));
    await assert.rejects(a.runtime.net.listen({ hostname: b.address, port: PORT }), isKind("noAddress"));
    const unknown = a.runtime.net.connect({ hostname: "nowhere", port: PORT, timeoutMs: 100 });
    await assert.rejects(world.drive(unknown), isKind("other"));
    a.kill();
    await a.restart().net.listen({ hostname: "0.0.0.0", port: PORT });
  });
});
