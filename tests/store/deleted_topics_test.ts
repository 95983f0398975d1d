// Topics deleted and made again, whatever ends the process meanwhile: every message put since then can be read, in order,
// here and on a slave that was never told of the deletion. What a crash may bring back of the old ones comes before them.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { type CrashMode, Prng, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { decodeMessage } from "../../src/store/message_codec.ts";
import { MessageStore, type MessageStoreOptions } from "../../src/store/message_store.ts";
import { verifyStore } from "../../src/store/store_verify.ts";
import { message, putOk, SMALL } from "../support/store_kit.ts";

const OPTIONS: MessageStoreOptions = { ...SMALL, storePathRootDir: "/store" };
const MODES: readonly CrashMode[] = ["keep", "drop", "tear"];
const SEEDS = 30;

/** One machine, its store, and what was put since the topic was deleted last. */
class Machine {
  readonly world: SimulatedWorld;
  readonly #host;
  store!: MessageStore;
  readonly random: Prng;
  put: string[] = [];
  #count = 0;

  constructor(world: SimulatedWorld, name: string, seed: number) {
    this.world = world;
    this.#host = world.host(name);
    this.random = new Prng(seed);
  }

  get fs() {
    return this.#host.runtime.fs;
  }

  async open(role: "master" | "slave"): Promise<void> {
    if (!this.#host.isRunning) this.#host.restart();
    const { fs, clock, process } = this.#host.runtime;
    this.store = await this.world.drive(MessageStore.open(OPTIONS, { fs, clock, process }));
    this.store.start();
    await this.world.drive(this.store.setRole(role));
  }

  end(mode: CrashMode | "kill"): void {
    if (mode === "kill") this.#host.kill();
    else this.#host.crash(mode);
  }

  putSome(count: number): void {
    for (let i = 0; i < count; i++) {
      const text = `m${this.#count++}`;
      putOk(this.store.appendMessage(message(text, { topic: "T" })));
      this.put.push(text);
      if (this.random.chance(200_000)) putOk(this.store.appendMessage(message("other", { topic: "Other" })));
    }
  }

  async delete(): Promise<void> {
    await this.world.drive(this.store.deleteTopics(["T"]));
    this.put = [];
  }

  async readable(): Promise<string[]> {
    await this.world.drive(this.store.waitDispatched());
    const texts: string[] = [];
    for (let offset = this.store.getMinOffsetInQueue("T", 0);;) {
      const pulled = await this.world.drive(Promise.resolve(this.store.pullMessages("T", 0, offset, 32, null)));
      for (let at = 0; at < pulled.records.length;) {
        const found = decodeMessage(pulled.records, at);
        texts.push(utf8.decode(found.body));
        at += found.storeSize;
      }
      if (pulled.nextBeginOffset <= offset) return texts;
      offset = pulled.nextBeginOffset;
    }
  }

  async holdsAll(): Promise<void> {
    const texts = await this.readable();
    assert.deepEqual(texts.slice(Math.max(0, texts.length - this.put.length)), this.put);
    const old = texts.slice(0, texts.length - this.put.length);
    assert.deepEqual(old, old.toSorted((a, b) => Number(a.slice(1)) - Number(b.slice(1))));
  }
}

describe("a topic that is deleted and made again", () => {
  it("has all messages put since then, after crashes of all kinds", async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const machine = new Machine(new SimulatedWorld(seed), "a", seed);
      const { random, world } = machine;
      await machine.open("master");
      for (let round = 0; round < 6; round++) {
        machine.putSome(random.nextInt(40));
        if (random.chance(500_000)) await world.advance(random.nextInt(300));
        if (random.chance(600_000)) {
          await machine.delete();
          machine.putSome(random.nextInt(20));
        }
        // What is not on the disk may be gone with the power: that is another test's.
        await world.drive(machine.store.waitStored(machine.store.maxOffset, 60_000));
        if (random.chance(500_000)) await world.advance(random.nextInt(300));
        machine.end(random.chance(300_000) ? "kill" : MODES[random.nextInt(3)]!);
        await machine.open("master");
        await machine.holdsAll();
      }
      await machine.world.drive(machine.store.shutdown());
      const { finding } = await machine.world.drive(
        verifyStore(machine.fs, "/store", { maxHashSlotNum: SMALL.maxHashSlotNum, maxIndexNum: SMALL.maxIndexNum }),
      );
      assert.equal(finding?.field === "consumeQueue" ? finding : null, null, `seed ${seed}`);
    }
  });

  it("stays where a stop overtakes the deletion, and the stop is clean", async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const world = new SimulatedWorld(seed);
      const machine = new Machine(world, "a", seed);
      await machine.open("master");
      for (const topic of ["T", "U", "V"]) putOk(machine.store.appendMessage(message("m0", { topic })));
      await world.drive(machine.store.waitDispatched());
      await world.advance(machine.random.nextInt(3000));
      // Each waits for the flush that may be under way.
      const deleted = machine.store.deleteTopics(["T", "U", "V"]).then(() => true, (error: unknown) => {
        assert.match(String(error), /the store stops/);
        return false;
      });
      await world.drive(machine.store.shutdown());
      await world.drive(deleted);
      assert.equal(machine.fs.stat("/store/abort"), null, `seed ${seed}`);
    }
  });

  it("has all of them on a slave, too, which was not told", async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const world = new SimulatedWorld(seed);
      const [master, slave] = [new Machine(world, "master", seed), new Machine(world, "slave", seed)];
      const { random } = master;
      await master.open("master");
      await slave.open("slave");
      for (let round = 0; round < 6; round++) {
        master.putSome(1 + random.nextInt(40));
        if (random.chance(500_000)) {
          await master.delete();
          master.putSome(1 + random.nextInt(40));
        }
        for (let offset = slave.store.maxOffset; offset < master.store.maxOffset;) {
          const bytes = new Uint8Array(1 + random.nextInt(4000));
          const count = await world.drive(Promise.resolve(master.store.read(offset, bytes)));
          assert.equal(slave.store.appendReplica(offset, bytes.subarray(0, count)).type, "appended");
          offset += count;
          if (random.chance(200_000)) await world.drive(slave.store.waitDispatched());
        }
        slave.put = [...master.put];
        await world.drive(slave.store.waitStored(slave.store.maxOffset, 60_000));
        if (random.chance(500_000)) {
          slave.end(random.chance(300_000) ? "kill" : MODES[random.nextInt(3)]!);
          await slave.open("slave");
        }
        await slave.holdsAll();
      }
      await world.drive(slave.store.setRole("master"));
      assert.equal(
        putOk(slave.store.appendMessage(message("next", { topic: "T" }))).logicsOffset,
        slave.put.length,
        `seed ${seed}: the old queue is forgotten`,
      );
    }
  });
});
