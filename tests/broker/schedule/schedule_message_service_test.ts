// Delivery of delay levels: when, in which order, and what a refusal, a stop, a crash or a promotion does to it.

import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { delayHook } from "../../../src/broker/schedule/delay_hook.ts";
import { DelayOffsetManager } from "../../../src/broker/schedule/delay_offset_manager.ts";
import { ScheduleMessageService } from "../../../src/broker/schedule/schedule_message_service.ts";
import { ManualClock, recordingLogger, waitFor } from "../../remoting/support.ts";
import { temporaryDirectory } from "../../support/store_fixtures.ts";
import { MemoryStore, producerMessage } from "./memory_store.ts";

const LEVELS = "1s 5s 10s";
const CONFIG = { messageDelayLevel: LEVELS, flushDelayOffsetInterval: 10_000 };

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
/** A clock whose wall time may be set. */
class SteppedClock extends ManualClock {
  #behindMs = 0;

  override now(): number {
    return super.now() - this.#behindMs;
  }

  setBack(ms: number): void {
    this.#behindMs += ms;
  }
}

let clock: SteppedClock;
let store: MemoryStore;
let offsets: DelayOffsetManager;
let service: ScheduleMessageService;
let lines: string[];
let fatal: unknown[];

beforeEach(async () => {
  place = await temporaryDirectory();
  clock = new SteppedClock();
  store = new MemoryStore(clock, LEVELS);
  store.hooks = [delayHook(CONFIG)];
  fatal = [];
  begin();
});

afterEach(async () => {
  assert.deepEqual(fatal, []);
  const stopping = service.stop();
  store.flush();
  await stopping;
  place.remove();
});

/** A new life of the node over the same files. */
function begin(): void {
  const log = recordingLogger();
  lines = log.lines;
  offsets = new DelayOffsetManager({ fs: place.fs, clock, logger: log.logger, directory: place.path });
  offsets.load();
  service = new ScheduleMessageService({
    store,
    puts: store,
    offsets,
    clock,
    logger: log.logger,
    config: CONFIG,
    replicatedOffset: () => null,
    onFatal: (error) => fatal.push(error),
  });
}

/** The node begins again, and its file is from before all it delivered. */
async function crash(): Promise<void> {
  await service.stop();
  place.fs.remove(`${place.path}/delayOffset.json`);
  begin();
}

function send(text: string, level: number): void {
  void store.putMessage(producerMessage(text, { DELAY: String(level) }));
}

/** Lets promises settle, and timers of 0 ms fire. */
async function settle(): Promise<void> {
  for (let i = 0; i < 200; i++) await Promise.resolve();
  for (let i = 0; i < 20; i++) {
    clock.advance(0);
    for (let j = 0; j < 200; j++) await Promise.resolve();
  }
}

async function advance(ms: number): Promise<void> {
  clock.advance(ms);
  await settle();
}

const delivered = () => store.texts("T", 2);

describe("ScheduleMessageService", () => {
  it("delivers each level when it is due and not before, with one timer", async () => {
    service.start();
    await settle();
    assert.equal(clock.timerCount, 0, "nothing waits, nothing ticks");
    send("five", 2);
    send("one", 1);
    send("ten", 3);
    await settle();
    assert.equal(clock.timerCount, 1);
    await advance(999);
    assert.deepEqual(delivered(), []);
    await advance(1);
    assert.deepEqual(delivered(), ["one"]);
    await advance(3999);
    assert.deepEqual(delivered(), ["one"]);
    await advance(1);
    await advance(5000);
    assert.deepEqual(delivered(), ["one", "five", "ten"]);
    assert.equal(service.deliveredCount, 3);
    assert.deepEqual(service.runningStats(), {
      scheduleMessageOffset_1: "1,1",
      scheduleMessageOffset_2: "1,1",
      scheduleMessageOffset_3: "1,1",
    });
  });

  it("delivers a message as it was sent, with the properties that made it wait", async () => {
    service.start();
    const sent = producerMessage("a", { DELAY: "9", TAGS: "x", WAIT: "true" }, { reconsumeTimes: 4 });
    await store.putMessage(sent);
    await settle();
    await advance(10_000);
    const [copy] = store.messages("T", 2);
    assert.deepEqual([...copy!.properties], [
      ["UNIQ_KEY", sent.properties.get("UNIQ_KEY")],
      ["DELAY", "3"],
      ["TAGS", "x"],
      ["WAIT", "true"],
      ["REAL_TOPIC", "T"],
      ["REAL_QID", "2"],
    ]);
    assert.deepEqual(
      {
        flag: copy!.flag,
        born: copy!.bornTimestamp,
        times: copy!.reconsumeTimes,
        prepared: copy!.preparedTransactionOffset,
      },
      { flag: 7, born: 1_600_000_000_000, times: 4, prepared: 0 },
    );
  });

  it("keeps the order of a level over thousands of messages", async () => {
    service.start();
    const texts = Array.from({ length: 3000 }, (_, i) => `m${i}`);
    for (const text of texts) send(text, 1);
    await settle();
    await advance(1000);
    await settle();
    for (let i = 0; i < 20 && delivered().length < 3000; i++) await settle();
    assert.deepEqual(delivered(), texts);
  });

  it("tries a refused put again, later each time, and lets nothing overtake it", async () => {
    service.start();
    send("a", 1);
    send("b", 1);
    let refusals = 0;
    store.refuse = () => (refusals++, "SERVICE_NOT_AVAILABLE");
    await settle();
    await advance(1000);
    assert.equal(refusals, 1);
    await advance(99);
    assert.equal(refusals, 1);
    await advance(1);
    assert.equal(refusals, 2);
    await advance(200);
    assert.equal(refusals, 3);
    store.refuse = () => null;
    await advance(400);
    assert.deepEqual(delivered(), ["a", "b"]);
    assert.equal(lines.filter((line) => line.includes("can't be delivered now")).length, 1);
  });

  it("goes on without what can't be delivered at all, and says so", async () => {
    send("gone", 1);
    send("half", 1);
    send("nowhere", 1);
    send("too large", 1);
    send("good", 1);
    store.records[0] = null;
    const half = new Map(store.records[1]!.properties).set("REAL_TOPIC", "RMQ_SYS_TRANS_HALF_TOPIC");
    store.records[1] = { ...store.records[1]!, properties: half };
    store.records[2] = { ...store.records[2]!, properties: new Map() };
    store.refuse = (message) => message.body.length > 5 ? "MESSAGE_ILLEGAL" : null;
    service.start();
    await settle();
    await advance(1000);
    assert.deepEqual(delivered(), ["good"]);
    const said = lines.filter((line) => line.startsWith("error"));
    assert.equal(said.length, 3);
    assert.match(said[0]!, /open transaction/);
    assert.match(said[1]!, /no real topic/);
    assert.match(said[2]!, /MESSAGE_ILLEGAL/);
  });

  it("waits 10 s after an error of the disk", async () => {
    service.start();
    send("a", 1);
    store.broken = true;
    await settle();
    await advance(1000);
    store.broken = false;
    await advance(9999);
    assert.deepEqual(delivered(), []);
    await advance(1);
    assert.deepEqual(delivered(), ["a"]);
  });

  it("delivers at once what a clock set back would hold up", async () => {
    service.start();
    send("a", 2);
    await settle();
    clock.setBack(3_600_000);
    await advance(5000);
    assert.deepEqual(delivered(), ["a"]);
  });

  it("sees a clock set forward within 10 s", async () => {
    const levels = "2h";
    store = new MemoryStore(clock, levels);
    store.hooks = [delayHook({ messageDelayLevel: levels })];
    service = new ScheduleMessageService({
      store,
      puts: store,
      offsets,
      clock,
      logger: recordingLogger().logger,
      config: { ...CONFIG, messageDelayLevel: levels },
      replicatedOffset: () => null,
      onFatal: (error) => fatal.push(error),
    });
    service.start();
    send("a", 1);
    await settle();
    clock.setBack(-7_200_000);
    await advance(10_000);
    assert.deepEqual(delivered(), ["a"]);
  });

  it("saves offsets some time after a delivery, once the delivered is on the disk", async () => {
    service.start();
    send("a", 1);
    await settle();
    await advance(1000);
    store.flushedOffset = 0;
    await advance(9999);
    assert.equal(place.fs.stat(`${place.path}/delayOffset.json`), null);
    await advance(1);
    assert.equal(place.fs.stat(`${place.path}/delayOffset.json`), null, "the copy may still be lost");
    store.flush();
    await waitFor("the file", () => place.fs.stat(`${place.path}/delayOffset.json`) !== null);
    assert.deepEqual([...saved()], [[1, 1]]);
    assert.equal(clock.timerCount, 0);
  });

  it("saves offsets at a stop, delivers nothing then, and goes on when started again", async () => {
    service.start();
    send("a", 1);
    await settle();
    await advance(1000);
    await service.stop();
    assert.deepEqual([...saved()], [[1, 1]]);
    assert.equal(store.listeners, 0);
    assert.equal(clock.timerCount, 0);
    send("b", 1);
    await advance(5000);
    assert.deepEqual(delivered(), ["a"]);
    service.start();
    await settle();
    assert.deepEqual(delivered(), ["a", "b"]);
  });

  it("stops in the middle of a level and loses nothing", async () => {
    for (let i = 0; i < 100; i++) send(`m${i}`, 1);
    service.start();
    await settle();
    let puts = 0;
    let stopping: Promise<void> | null = null;
    store.refuse = () => {
      if (++puts === 50) stopping = service.stop();
      return null;
    };
    await advance(1000);
    await stopping;
    assert.equal(delivered().length, 50);
    assert.deepEqual([...saved()], [[1, 50]]);
    begin();
    service.start();
    await settle();
    assert.deepEqual(delivered(), Array.from({ length: 100 }, (_, i) => `m${i}`));
  });

  it("delivers nothing twice after a crash: the log says what its old file does not", async () => {
    service.start();
    for (let i = 0; i < 40; i++) send(`m${i}`, 1);
    await settle();
    await advance(1000);
    assert.equal(delivered().length, 40);
    await crash();
    send("new", 1);
    service.start();
    await settle();
    assert.equal(delivered().length, 40);
    await advance(1000);
    assert.equal(delivered().length, 41);
  });

  it("delivers again after a crash when there is no index to ask", async () => {
    service.start();
    send("a", 1);
    await settle();
    await advance(1000);
    await crash();
    store.isIndexComplete = false;
    store.waitIndexComplete = () => Promise.resolve(false);
    service.start();
    await settle();
    assert.deepEqual(delivered(), ["a", "a"]);
  });

  it("waits a while after a crash for the index to be whole, and lets a stop through meanwhile", async () => {
    service.start();
    send("a", 1);
    await settle();
    await advance(1000);
    await crash();
    send("b", 1);
    store.isIndexComplete = false;
    service.start();
    await advance(2000);
    assert.deepEqual(delivered(), ["a"]);
    await service.stop();
    assert.equal(clock.timerCount, 0);
    service.start();
    await advance(2000);
    store.isIndexComplete = true;
    store.indexWaiter!();
    await settle();
    assert.deepEqual(delivered(), ["a", "b"]);
    await crash();
    store.isIndexComplete = false;
    service.start();
    await advance(29_999);
    assert.equal(delivered().length, 2);
    await advance(1);
    assert.deepEqual(delivered(), ["a", "b", "a", "b"]);
  });

  it("loses nothing when a promoted slave has its master's file but not its bytes", async () => {
    service.start();
    for (let i = 0; i < 10; i++) send(`m${i}`, 1);
    await settle();
    await advance(1000);
    await service.stop();
    assert.deepEqual([...saved()], [[1, 10]]);
    store.cut(10 + 4);
    assert.equal(delivered().length, 4);
    begin();
    service.start();
    await settle();
    assert.deepEqual(delivered(), Array.from({ length: 10 }, (_, i) => `m${i}`));
  });

  it("clamps a file that points outside the queues", async () => {
    for (let i = 0; i < 3; i++) send(`m${i}`, 1);
    store.isIndexComplete = false;
    store.waitIndexComplete = () => Promise.resolve(false);
    offsets.updateOffset(1, 99);
    service.start();
    await settle();
    send("m3", 1);
    await advance(1000);
    assert.deepEqual(delivered(), ["m3"]);
    assert.match(lines.join("\n"), /outside its queue/);
    await service.stop();
    store.minOffsets.set("SCHEDULE_TOPIC_XXXX-1", 50);
    offsets.updateOffset(2, 4);
    service.start();
    send("late", 2);
    await advance(5000);
    assert.deepEqual(delivered(), ["m3", "late"]);
  });
});

function saved(): ReadonlyMap<number, number> {
  const manager = new DelayOffsetManager({
    fs: place.fs,
    clock,
    logger: recordingLogger().logger,
    directory: place.path,
  });
  manager.load();
  return manager.offsets;
}
