// The simulated world itself: one seed is one run on every runtime, time and lives obey, failures name the seed.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sleep } from "../../src/base/async.ts";
import type { Connection, Runtime } from "../../src/runtime/runtime.ts";
import { Prng, SimulatedExit, SimulatedWorld, WALL_START_MS } from "../../src/runtime/simulated/mod.ts";

const PORT = 10_912;
/** What seed 42 has always led to, on Deno, Bun and Node. A change of the simulator's draws changes it. */
const HASH_OF_SEED_42 = "8b00df82fc5caab8";

/** Three hosts that write, sync, read and talk under every fault there is, for ten simulated seconds. */
async function faultyRun(seed: number): Promise<SimulatedWorld> {
  const world = new SimulatedWorld(seed, {
    network: {
      resetPerMillion: 10_000,
      clogPerMillion: 10_000,
      connectLossPerMillion: 50_000,
      splitPerMillion: 200_000,
      sendBufferSize: 8_192,
      receiveBufferSize: 8_192,
    },
    disk: {
      readErrorPerMillion: 10_000,
      writeErrorPerMillion: 10_000,
      syncErrorPerMillion: 10_000,
      bitRotPerMillion: 1_000,
      misdirectedWritePerMillion: 1_000,
    },
  });
  const names = ["a", "b", "c"];
  const start = (name: string) => runNode(world, world.host(name).runtime, names).catch(() => {});
  for (const name of names) void start(name);
  for (let round = 1; round <= 9; round++) {
    world.after(round * 1_000, () => disturb(world, names, start));
  }
  await world.advance(10_000);
  return world;
}

function disturb(world: SimulatedWorld, names: readonly string[], start: (name: string) => void): void {
  const prng = world.prng.fork(`disturb ${world.nowMs}`);
  const [name, other] = [prng.pick(names), prng.pick(names)];
  const host = world.host(name);
  world.network.heal();
  switch (prng.nextInt(5)) {
    case 0:
      host.crash();
      host.restart();
      return void start(name);
    case 1:
      host.kill();
      host.restart();
      return void start(name);
    case 2:
      return world.network.isolate(name);
    case 3:
      return world.network.cut(name, other);
    default:
      host.clock.setDrift(prng.between(-500, 500));
      host.clock.step(prng.between(-5_000, 5_000));
      return host.disk.stall(200);
  }
}

async function runNode(world: SimulatedWorld, runtime: Runtime, names: readonly string[]): Promise<void> {
  runtime.fs.makeDirectory("/log");
  runtime.fs.open("/log/file", "create").close();
  for (const path of ["/", "/log"]) runtime.fs.syncDirectory(path);
  const listener = await runtime.net.listen({ hostname: "0.0.0.0", port: PORT });
  const serve = async (connection: Connection): Promise<void> => {
    for (let bytes = await connection.read(); bytes !== null; bytes = await connection.read()) {
      world.note(`serves ${runtime.process.hostname}`, bytes.length);
      await connection.write(bytes.subarray(0, 8));
    }
  };
  void (async () => {
    for (let it = await listener.accept(); it !== null; it = await listener.accept()) void serve(it).catch(() => {});
  })();
  for (;;) {
    await sleep(runtime.clock, 20 + runtime.random.nextInt(50));
    await exchange(runtime, names[runtime.random.nextInt(names.length)]!).catch(() => {});
  }
}

async function exchange(runtime: Runtime, peer: string): Promise<void> {
  const bytes = runtime.random.bytes(1 + runtime.random.nextInt(20_000));
  const file = runtime.fs.open("/log/file", "create");
  try {
    file.writeAt(bytes, runtime.random.nextInt(100_000));
    if (runtime.random.nextInt(3) > 0) await file.sync();
    await file.readAtAsync(bytes, runtime.random.nextInt(50_000));
  } finally {
    file.close();
  }
  const connection = await runtime.net.connect({ hostname: peer, port: PORT, timeoutMs: 300 });
  try {
    await connection.write(bytes);
    await connection.read();
  } finally {
    connection.close();
  }
}

describe("simulated world: determinism", () => {
  it("leads one seed to one trace, the same on every runtime", async () => {
    const world = await faultyRun(42);
    assert.ok(world.trace.count > 3_000, `${world.trace.count} events`);
    assert.equal(world.trace.hash, HASH_OF_SEED_42);
  });

  it("repeats itself, and differs for other seeds", async () => {
    const hashes: string[] = [];
    for (const seed of [1, 1, 2, -7, Number.MAX_SAFE_INTEGER]) hashes.push((await faultyRun(seed)).trace.hash);
    assert.equal(hashes[0], hashes[1]);
    assert.equal(new Set(hashes).size, 4);
  });

  it("has faults happen, and counts them", async () => {
    const world = await faultyRun(5);
    const { splits, coalescedReads, resets, stalledWrites, parked, clogs, connectsLost } = world.network.counters;
    assert.ok(Math.min(splits, coalescedReads, resets, stalledWrites, parked, clogs, connectsLost) > 0);
    const disks = world.hosts.map((host) => host.disk.counters);
    const sum = (key: keyof (typeof disks)[number]) => disks.reduce((total, counters) => total + counters[key], 0);
    assert.ok(sum("readErrors") > 0 && sum("writeErrors") > 0 && sum("syncErrors") > 0);
    assert.ok(sum("shortWrites") > 0 && sum("crashes") > 0 && sum("lostSectors") > 0);
  });

  it("draws evenly, and forks without a mutual influence", () => {
    const prng = new Prng(9);
    const counts = new Uint32Array(10);
    for (let i = 0; i < 10_000; i++) counts[prng.nextInt(10)]!++;
    assert.ok(counts.every((count) => count > 850 && count < 1_150), counts.join(" "));
    assert.equal(prng.fork("x").nextUint32(), new Prng(9).fork("x").nextUint32());
    assert.notEqual(prng.fork("x").nextUint32(), prng.fork("y").nextUint32());
    assert.equal(prng.nextInt(1), 0);
    assert.equal(prng.chance(0), false);
    assert.equal(prng.chance(1_000_000), true);
  });
});

describe("simulated world: time", () => {
  it("moves only with events, and at once", async () => {
    const world = new SimulatedWorld(1);
    const { clock } = world.host("a").runtime;
    assert.equal(clock.now(), WALL_START_MS);
    const year = 365 * 24 * 3_600_000;
    const sleeping = sleep(clock, year);
    await world.drive(sleeping, year + 10);
    assert.ok(clock.now() >= WALL_START_MS + year && clock.monotonic() >= year);
  });

  it("steps a wall clock without moving timers or the monotonic clock", async () => {
    const world = new SimulatedWorld(1, { timerJitterMaxUs: 0 });
    const host = world.host("a");
    const { clock } = host.runtime;
    const sleeping = sleep(clock, 1_000);
    host.clock.step(-3_600_000);
    assert.equal(clock.now(), WALL_START_MS - 3_600_000);
    await world.drive(sleeping);
    assert.ok(world.nowMs >= 1_000 && world.nowMs <= 1_002);
    assert.equal(clock.monotonic(), world.nowMs);
  });

  it("lets clocks drift apart", async () => {
    const world = new SimulatedWorld(1);
    const [fast, slow] = [world.host("fast"), world.host("slow")];
    fast.clock.setDrift(1_000);
    slow.clock.setDrift(-1_000);
    const order: string[] = [];
    for (const host of [slow, fast]) {
      void sleep(host.runtime.clock, 100_000).then(() => order.push(host.name));
    }
    await world.advance(100_500);
    assert.deepEqual(order, ["fast", "slow"]);
    assert.equal(fast.runtime.clock.monotonic() - slow.runtime.clock.monotonic(), 201);
  });

  it("says which seed got stuck, and what happened last", async () => {
    const world = new SimulatedWorld(77);
    await assert.rejects(world.run(() => false, 100), /Seed 77: Nothing is left/);
    await assert.rejects(
      world.drive(sleep(world.host("a").runtime.clock, 500), 100),
      /Seed 77: Not reached within 100/,
    );
    world.host("a").runtime.clock.setTimer(0, () => {
      throw new Error("on purpose");
    });
    await assert.rejects(world.advance(10), /Seed 77: Event "timer" failed/);
  });

  it("lets everything settle between two events", async () => {
    const world = new SimulatedWorld(1, { timerJitterMaxUs: 0 });
    const { clock } = world.host("a").runtime;
    const order: number[] = [];
    for (const id of [0, 1]) {
      clock.setTimer(5, async () => {
        for (let i = 0; i < 1_000; i++) await null;
        order.push(id, id);
      });
    }
    await world.step();
    assert.equal(order.length, 2);
    await world.step();
    assert.equal(order.length, 4);
    assert.equal(await world.step(), false);
  });
});

describe("simulated world: lives", () => {
  it("stops nothing but a paused host", async () => {
    const world = new SimulatedWorld(1);
    const [a, b] = [world.host("a"), world.host("b")];
    const ticks: string[] = [];
    for (const host of [a, b]) host.runtime.clock.setTimer(10, () => ticks.push(host.name));
    const cancelled = a.runtime.clock.setTimer(10, () => ticks.push("cancelled"));
    a.pause();
    await world.advance(100);
    assert.deepEqual(ticks, ["b"]);
    cancelled.cancel();
    a.resume();
    await world.advance(1);
    assert.deepEqual(ticks, ["b", "a"]);
  });

  it("delivers signals and input, captures output and the exit code", async () => {
    const world = new SimulatedWorld(1);
    const host = world.host("a", { env: { HOME: "/root" } });
    const { process, clock } = host.runtime;
    assert.equal(process.env("HOME"), "/root");
    const input: number[] = [];
    void (async () => {
      for await (const chunk of process.stdin()) input.push(chunk.length);
      process.writeOut("end of input\n");
    })();
    process.onStopSignal((signal) => {
      process.writeErr(`${signal}\n`);
      clock.setTimer(5, () => process.exit(3));
      clock.setTimer(50, () => process.writeErr("never\n"));
    });
    host.input(new Uint8Array(4));
    host.input(null);
    host.signal("SIGTERM");
    await world.advance(1_000);
    assert.deepEqual(input, [4]);
    assert.equal(host.process.capturedOut, "end of input\n");
    assert.equal(host.process.capturedErr, "SIGTERM\n");
    assert.equal(host.exitCode, 3);
    assert.equal(host.isRunning, false);
    assert.throws(() => process.exit(4), SimulatedExit);
    assert.equal(host.exitCode, 3);
  });

  it("gives each life its own pid and token", () => {
    const host = new SimulatedWorld(1).host("a");
    const { pid } = host.runtime.process;
    assert.notEqual(host.runtime.process.startToken(pid), null);
    host.kill();
    const next = host.restart().process;
    assert.notEqual(next.pid, pid);
    assert.equal(next.startToken(pid), null);
  });

  it("cuts HTTP clients off when the program dies", async () => {
    const world = new SimulatedWorld(1);
    const host = world.host("a");
    const server = await host.runtime.serveHttp({ hostname: "0.0.0.0", port: 0 }, (request) => {
      return request.url.endsWith("/hang") ? new Promise<Response>(() => {}) : new Response("here");
    });
    const url = `http://a:${server.address.port}`;
    const answer = await world.drive(world.fetch("a", new Request(url)));
    assert.equal(await world.drive(answer.text()), "here");
    const hanging = assert.rejects(world.fetch("a", new Request(`${url}/hang`)), /gone/);
    await world.advance(100);
    host.kill();
    await world.drive(hanging);
    await world.drive(assert.rejects(world.fetch("a", new Request(url)), /refused/));
  });
});
