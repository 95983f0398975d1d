// Messages with a delivery time: when they come, in which order, called back or not, and what restarts, cuts and changes
// of the role do to them.

import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { readInt64 } from "../../../src/base/bytes.ts";
import { TimerMessageStore } from "../../../src/broker/timer/timer_message_store.ts";
import { TimerMetrics } from "../../../src/broker/timer/timer_metrics.ts";
import { timerHook } from "../../../src/broker/timer/timer_hook.ts";
import { Prng } from "../../../src/runtime/simulated/prng.ts";
import { ManualClock, recordingLogger, runtime } from "../../remoting/support.ts";
import { temporaryDirectory } from "../../support/store_fixtures.ts";
import { MemoryStore, producerMessage, RECORD_SIZE } from "../schedule/memory_store.ts";

const CONFIG = {
  timerWheelEnable: true,
  timerPrecisionMs: 1000,
  timerMaxDelaySec: 30 * 24 * 3600,
  timerRollWindowSlot: 172_800,
  timerCongestNumEachSlot: 2 ** 31 - 1,
  timerFlushIntervalMs: 1000,
  mappedFileSizeTimerLog: 1024 * 1024,
};
const TIMER_TOPIC = "rmq_sys_wheel_timer";

/** One broker: its files, its log, its timer. */
class Node {
  readonly place: Awaited<ReturnType<typeof temporaryDirectory>>;
  readonly clock: ManualClock;
  store: MemoryStore;
  timer!: TimerMessageStore;
  metrics!: TimerMetrics;
  lines: string[] = [];
  readonly fatal: unknown[] = [];
  /** Whether its store refuses puts. */
  refuses = false;
  config: typeof CONFIG & { storePathRootDir: string };

  constructor(place: Awaited<ReturnType<typeof temporaryDirectory>>, clock: ManualClock) {
    this.place = place;
    this.clock = clock;
    this.store = new MemoryStore(clock, "1s");
    this.config = { ...CONFIG, storePathRootDir: place.path };
    this.store.hooks = [
      timerHook({ config: CONFIG, now: () => clock.now(), isReject: (deliverMs) => this.timer.isReject(deliverMs) }),
    ];
    this.begin();
  }

  /** A new life over the same files. */
  begin(): void {
    const { fs, path } = this.place;
    const { logger, lines } = recordingLogger();
    this.lines = lines;
    const directory = `${path}/config`;
    this.metrics = new TimerMetrics({ fs, clock: this.clock, logger: SILENT_LOGGER, directory });
    this.metrics.load();
    this.timer = new TimerMessageStore({
      fs,
      clock: this.clock,
      random: { nextInt: () => 999, bytes: (count) => new Uint8Array(count) },
      logger,
      store: this.store,
      puts: this.store,
      metrics: this.metrics,
      config: this.config,
      configDirectory: directory,
      replicatedOffset: () => null,
      onFatal: (error) => this.fatal.push(error),
    });
  }

  /** What a killed process leaves: the files as they are, without what it would have saved at a stop. */
  async kill(): Promise<void> {
    const check = this.place.fs.readFile(`${this.place.path}/config/timercheck`);
    await this.timer.stop();
    if (check === null) this.place.fs.remove(`${this.place.path}/config/timercheck`);
    else this.place.fs.writeFile(`${this.place.path}/config/timercheck`, check);
    this.begin();
  }

  send(text: string, properties: Record<string, string>, topic = "T"): string {
    const message = producerMessage(text, properties, { topic });
    const { status } = this.store.putMessage(message) as { status: string };
    assert.equal(status, "PUT_OK");
    return message.properties.get("UNIQ_KEY")!;
  }

  get delivered(): string[] {
    return this.store.texts("T", 2);
  }

  get deliveredCount(): number {
    return this.store.queues.get("T-2")?.length ?? 0;
  }
}

let clock: ManualClock;
let nodes: Node[];
let node: Node;

async function makeNode(): Promise<Node> {
  const made = new Node(await temporaryDirectory(), clock);
  nodes.push(made);
  return made;
}

beforeEach(async () => {
  clock = new ManualClock();
  nodes = [];
  node = await makeNode();
});

afterEach(async () => {
  for (const one of nodes) {
    await one.timer.stop();
    assert.deepEqual(one.fatal, []);
    one.place.remove();
  }
});

/** Lets what is going on end: files are read and written off the event loop, so some real time has to pass. */
async function settle(): Promise<void> {
  for (let quiet = 0; quiet < 4; quiet++) {
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(0);
    // A put that is refused keeps it busy.
    if (nodes.some((one) => one.timer.isBusy && !one.refuses)) quiet = 0;
  }
}

async function advance(ms: number): Promise<void> {
  await settle();
  clock.advance(ms);
  await settle();
}

/** Lets time that takes none pass until the condition holds; fails after 20 s. */
async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = runtime.clock.monotonic() + 20_000;
  while (!condition()) {
    if (runtime.clock.monotonic() > deadline) throw new Error(`Waited 20 s for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(0);
  }
}

async function started(of: Node): Promise<void> {
  of.timer.start();
  await until("delivery", () => of.timer.state === "delivering");
  await settle();
}

async function deliveredIs(texts: readonly string[], of = node): Promise<void> {
  await until(`${texts.length} messages`, () => of.deliveredCount >= texts.length);
  await settle();
  assert.deepEqual(of.delivered, texts);
}

describe("TimerMessageStore", () => {
  it("does nothing, and has no files and timers, without messages", async () => {
    await started(node);
    assert.equal(clock.timerCount, 0);
    assert.deepEqual(node.place.fs.list(node.place.path), []);
    await node.timer.stop();
    assert.equal(node.store.listeners, 0);
    assert.deepEqual(node.place.fs.list(node.place.path), []);
  });

  it("delivers each message after its time, within a slot, those of a slot in order", async () => {
    await started(node);
    node.send("c", { TIMER_DELAY_MS: "9500" });
    node.send("a", { TIMER_DELAY_SEC: "3" });
    node.send("b", { TIMER_DELIVER_MS: String(clock.now() + 3000) });
    await advance(2999);
    assert.deepEqual(node.delivered, []);
    assert.equal(clock.timerCount, 1, "one for the next slot, the files are saved");
    await advance(1);
    await deliveredIs(["a", "b"]);
    await advance(6500);
    assert.equal(node.delivered.length, 2);
    await advance(500);
    await deliveredIs(["a", "b", "c"]);
    assert.equal(node.timer.counts.enqueued, 3);
    assert.equal(node.timer.counts.dequeued, 3);
    assert.equal(node.metrics.count("T"), 0);
  });

  it("adds when a message was enqueued and dequeued to the properties that it has", async () => {
    await started(node);
    const enqueuedAt = clock.now();
    const key = node.send("a", { TIMER_DELAY_SEC: "3", WAIT: "true" });
    await advance(3000);
    await deliveredIs(["a"]);
    const copy = node.store.messages("T", 2)[0]!;
    assert.deepEqual([...copy.properties], [
      ["UNIQ_KEY", key],
      ["TIMER_DELAY_SEC", "3"],
      ["WAIT", "true"],
      ["TIMER_OUT_MS", String(enqueuedAt + 2000)],
      ["REAL_TOPIC", "T"],
      ["REAL_QID", "2"],
      ["TIMER_ENQUEUE_MS", String(enqueuedAt)],
      ["TIMER_DEQUEUE_MS", String(enqueuedAt + 3000)],
    ]);
  });

  it("delivers 100,000 messages of many slots, each slot in order", async () => {
    await started(node);
    const wanted = new Map<number, string[]>();
    for (let i = 0; i < 100_000; i++) {
      const second = 5 + (i * 7919) % 100;
      node.send(`${second}-${i}`, { TIMER_DELIVER_MS: String(clock.now() + 1000 * second) });
      wanted.set(second, [...wanted.get(second) ?? [], `${second}-${i}`]);
    }
    await until("all in the wheel", () => node.timer.counts.enqueued === 100_000);
    assert.equal(node.metrics.count("T"), 100_000);
    for (let second = 0; second <= 105; second++) await advance(1000);
    assert.equal(node.deliveredCount, 100_000);
    const texts = [...wanted.entries()].sort((a, b) => a[0] - b[0]).flatMap(([, of]) => of);
    assert.deepEqual(node.delivered, texts);
  });

  it("takes a slot of many messages in parts", async () => {
    await started(node);
    const texts = Array.from({ length: 20_000 }, (_, i) => `m${i}`);
    for (const text of texts) node.send(text, { TIMER_DELAY_SEC: "60" });
    await until("all in the wheel", () => node.timer.counts.enqueued === texts.length);
    await advance(60_000);
    await deliveredIs(texts);
  });

  it("delivers at once what comes too late for its slot, and says that it never was in the wheel", async () => {
    node.send("late", { TIMER_DELAY_SEC: "3" });
    node.send("later", { TIMER_DELAY_SEC: "60" });
    clock.advance(10_000);
    await started(node);
    await deliveredIs(["late"]);
    assert.equal(node.store.messages("T", 2)[0]!.properties.get("TIMER_ENQUEUE_MS"), "9223372036854775807");
    await advance(50_000);
    await deliveredIs(["late", "later"]);
  });

  it("rolls a message that is too far ahead, more than once if need be", async () => {
    await started(node);
    const day = 24 * 3600 * 1000;
    const key = node.send("far", { TIMER_DELIVER_MS: String(clock.now() + 5 * day) });
    const end = clock.now() + 5 * day;
    while (clock.now() < end) {
      assert.deepEqual(node.delivered, []);
      await advance(6 * 3600 * 1000);
    }
    await deliveredIs(["far"]);
    const copies = node.store.messages(TIMER_TOPIC, 0);
    assert.deepEqual(copies.map((copy) => copy.properties.get("TIMER_ROLL_TIMES")), [undefined, "1", "2"]);
    assert.ok(copies.every((copy) => copy.properties.get("UNIQ_KEY") === key));
    const stored = copies.map((copy) => Math.round((end - copy.storeTimestamp) / day));
    assert.deepEqual(stored, [5, 3, 1], "as Apache: two days on, then with time enough left");
    assert.equal(node.metrics.count("T"), 0);
  });

  it("does not deliver what is called back, whenever in its slot that came", async () => {
    await started(node);
    const at = String(clock.now() + 5000);
    const key = node.send("no", { TIMER_DELIVER_MS: at });
    node.send("yes", { TIMER_DELIVER_MS: at });
    node.send("recall", { TIMER_DELIVER_MS: at, TIMER_DEL_UNIQKEY: `T+${key}` });
    node.send("other topic", { TIMER_DELIVER_MS: at, TIMER_DEL_UNIQKEY: `U+${key}` });
    await settle();
    await advance(5000);
    await deliveredIs(["yes"]);
    await advance(100_000);
    assert.deepEqual(node.delivered, ["yes"]);
  });

  it("goes on after a stop", async () => {
    await started(node);
    node.send("a", { TIMER_DELAY_SEC: "3" });
    node.send("b", { TIMER_DELAY_SEC: "20" });
    await advance(5000);
    await deliveredIs(["a"]);
    await node.timer.stop();
    assert.equal(clock.timerCount, 0);
    node.begin();
    node.send("c", { TIMER_DELAY_SEC: "30" });
    await started(node);
    await advance(15_000);
    await deliveredIs(["a", "b"]);
    await node.timer.stop();
    await started(node);
    await advance(15_000);
    await deliveredIs(["a", "b", "c"]);
    assert.deepEqual(node.lines, []);
  });

  it("goes on after a crash: nothing is lost, nothing comes twice", async () => {
    await started(node);
    for (let i = 0; i < 50; i++) node.send(`m${i}`, { TIMER_DELIVER_MS: String(clock.now() + 1000 * (2 + i % 10)) });
    const texts: string[] = [];
    for (let second = 0; second < 10; second++) {
      for (let i = second; i < 50; i += 10) texts.push(`m${i}`);
    }
    await advance(2000);
    for (let step = 0; step < 12; step++) {
      await advance(700);
      await node.kill();
      await started(node);
      await advance(300);
    }
    await deliveredIs(texts);
  });

  it("puts a crash's half-written wheel in order", async () => {
    await started(node);
    node.send("a", { TIMER_DELAY_SEC: "10" });
    await advance(1000);
    await until("the checkpoint", () => node.place.fs.stat(`${node.place.path}/config/timercheck`) !== null);
    const { fs, path } = node.place;
    await settle();
    const early = fs.readFile(`${path}/timerwheel`)!;
    node.send("b", { TIMER_DELAY_SEC: "9" });
    node.send("c", { TIMER_DELAY_SEC: "30" });
    await settle();
    await node.kill();
    // The units reached the disk, their slots did not.
    fs.writeFile(`${path}/timerwheel`, early);
    await started(node);
    await advance(10_000);
    await deliveredIs(["a", "b"]);
    await advance(30_000);
    await deliveredIs(["a", "b", "c"]);
  });

  it("puts a crash's half-written log in order", async () => {
    await started(node);
    node.send("a", { TIMER_DELAY_SEC: "10" });
    node.send("x", { TIMER_DELAY_SEC: "50" });
    await settle();
    await node.timer.stop();
    node.begin();
    await started(node);
    node.send("b", { TIMER_DELAY_SEC: "10" });
    node.send("c", { TIMER_DELAY_SEC: "30" });
    await settle();
    await node.kill();
    // The slots reached the disk, their units did not.
    const file = node.place.fs.open(`${node.place.path}/timerlog/00000000000000000000`, "write");
    file.writeAt(new Uint8Array(104), 104);
    file.close();
    await started(node);
    await advance(10_000);
    await deliveredIs(["a", "b"]);
    assert.match(node.lines.join("\n"), /ahead of its log/);
    await advance(50_000);
    await deliveredIs(["a", "b", "c", "x"]);
  });

  it("makes its files anew when they are gone or of another size", async () => {
    await started(node);
    for (let i = 0; i < 5; i++) node.send(`m${i}`, { TIMER_DELAY_SEC: String(2 + 10 * i) });
    await advance(12_000);
    await deliveredIs(["m0", "m1"]);
    await node.timer.stop();
    node.place.fs.remove(`${node.place.path}/timerlog`);
    node.place.fs.remove(`${node.place.path}/timerwheel`);
    node.place.fs.remove(`${node.place.path}/config`);
    node.begin();
    await started(node);
    await advance(10_000);
    await deliveredIs(["m0", "m1", "m2"]);
    await node.timer.stop();
    node.config = { ...node.config, mappedFileSizeTimerLog: 8192 };
    node.begin();
    await started(node);
    await advance(10_000);
    await deliveredIs(["m0", "m1", "m2", "m3"]);
    assert.match(node.lines.join("\n"), /made anew/);
    await advance(10_000);
    await deliveredIs(["m0", "m1", "m2", "m3", "m4"]);
  });

  it("opens whatever stands in its files, and delivers nothing early", async () => {
    const random = new Prng(7);
    for (let round = 0; round < 16; round++) {
      const made = await makeNode();
      await started(made);
      for (let i = 0; i < 30; i++) made.send(`m${i}`, { TIMER_DELAY_SEC: String(2 + i) });
      await advance(10_000);
      await made.timer.stop();
      const { fs, path } = made.place;
      for (const file of ["timerlog/00000000000000000000", "timerwheel", "config/timercheck"]) {
        const handle = fs.open(`${path}/${file}`, "write");
        const slot = (Math.floor(clock.now() / 1000) + random.nextInt(20)) % 1_209_600 * 32;
        const at = file === "timerwheel" ? slot + random.nextInt(32) : random.nextInt(60);
        if (random.nextInt(2) === 0) handle.writeAt(random.bytes(1 + random.nextInt(8)), at);
        handle.close();
      }
      made.begin();
      await started(made);
      const before = made.deliveredCount;
      made.send("new", { TIMER_DELAY_SEC: "60" });
      await settle();
      assert.ok(made.deliveredCount - before <= 2, `round ${round}`);
      for (let second = 0; second < 70; second += 5) await advance(5000);
      assert.ok(made.delivered.includes("new"), `round ${round}`);
      await made.timer.stop();
    }
  });

  it("tries a refused put until it is taken, and lets a stop through", async () => {
    await started(node);
    node.send("a", { TIMER_DELAY_SEC: "3" });
    let refusals = 0;
    node.store.refuse = () => (refusals++, "SERVICE_NOT_AVAILABLE");
    node.refuses = true;
    await advance(3000);
    await until("a refusal", () => refusals === 1);
    await advance(500);
    await until("a second one", () => refusals === 2);
    await node.timer.stop();
    node.store.refuse = () => null;
    node.refuses = false;
    await started(node);
    await deliveredIs(["a"]);
  });

  it("tries again after an error of the disk", async () => {
    await started(node);
    node.store.broken = true;
    node.send("a", { TIMER_DELAY_SEC: "3" });
    await settle();
    node.store.broken = false;
    await advance(10_000);
    await deliveredIs(["a"]);
    assert.match(node.lines.join("\n"), /trying again in 10 s/);
  });

  it("refuses messages for a slot that is full", async () => {
    node.config.timerCongestNumEachSlot = 10;
    await started(node);
    const at = clock.now() + 60_000;
    for (let i = 0; i < 20; i++) node.send(`m${i}`, { TIMER_DELIVER_MS: String(at) });
    await until("all in the wheel", () => node.timer.counts.enqueued === 20);
    const refused = node.store.putMessage(producerMessage("x", { TIMER_DELIVER_MS: String(at) }));
    assert.equal((refused as { status: string }).status, "WHEEL_TIMER_FLOW_CONTROL");
    node.send("elsewhere", { TIMER_DELIVER_MS: String(at + 1000) });
  });

  it("is off with timerWheelEnable=false", async () => {
    node.config.timerWheelEnable = false;
    node.send("a", { TIMER_DELAY_SEC: "3" });
    node.timer.start();
    await advance(10_000);
    assert.deepEqual(node.delivered, []);
    await node.timer.stop();
  });
});

describe("TimerMessageStore of a master and a slave", () => {
  /** What the slave's log holds of the master's. */
  function replicate(from: Node, to: Node, count = from.store.records.length): void {
    for (const record of from.store.records.slice(to.store.records.length, count)) to.store.append(record!);
  }

  function sync(from: Node, to: Node): void {
    to.timer.adoptCheckpoint(from.timer.checkpointForSlaves());
  }

  it("lets an idle slave write nothing, though its master names another time at each question", async () => {
    const slave = await makeNode();
    node.timer.start();
    await slave.timer.follow();
    await advance(2_000);
    const before = clock.timerCount;
    sync(node, slave);
    await advance(2_000);
    sync(node, slave);
    assert.equal(clock.timerCount, before);
  });

  it("keeps the wheel on the slave, delivers nothing there, and goes on at once when promoted", async () => {
    const slave = await makeNode();
    node.timer.start();
    await slave.timer.follow();
    for (let i = 0; i < 30; i++) node.send(`m${i}`, { TIMER_DELAY_SEC: String(2 + i) });
    replicate(node, slave);
    await advance(10_000);
    await until("nine deliveries", () => node.delivered.length === 9);
    await advance(1500);
    replicate(node, slave);
    await until("a checkpoint", () => readInt64(node.timer.checkpointForSlaves(), 24) === 30);
    sync(node, slave);
    await settle();
    assert.equal(slave.timer.counts.enqueued, 30);
    assert.equal(slave.delivered.length, 10);
    // The master goes on; the slave hears of its deliveries by the log only.
    await advance(3000);
    await until("three more", () => node.delivered.length === 13);
    replicate(node, slave);
    await node.timer.stop();
    await started(slave);
    await advance(20_000);
    await deliveredIs(Array.from({ length: 30 }, (_, i) => `m${i}`), slave);
  });

  it("loses nothing when the master's word came before its bytes", async () => {
    const slave = await makeNode();
    node.timer.start();
    await slave.timer.follow();
    for (let i = 0; i < 10; i++) node.send(`m${i}`, { TIMER_DELAY_SEC: String(2 + i) });
    const sent = node.store.records.length;
    replicate(node, slave, sent);
    await advance(8000);
    await until("seven", () => node.delivered.length === 7);
    await node.timer.stop();
    replicate(node, slave, sent + 3);
    sync(node, slave);
    await started(slave);
    await advance(10_000);
    await until("all", () => slave.delivered.length >= 10);
    assert.deepEqual([...slave.delivered].sort(), Array.from({ length: 10 }, (_, i) => `m${i}`));
  });

  it("takes back what a cut of its log took", async () => {
    const slave = await makeNode();
    node.timer.start();
    await slave.timer.follow();
    for (let i = 0; i < 6; i++) node.send(`m${i}`, { TIMER_DELAY_SEC: "20" });
    replicate(node, slave);
    await advance(1000);
    await until("a checkpoint", () => readInt64(node.timer.checkpointForSlaves(), 24) === 6);
    sync(node, slave);
    await settle();
    assert.equal(slave.timer.counts.enqueued, 6);
    slave.store.cut(4);
    slave.store.append(producerMessage("other"));
    const at = clock.now() + 25_000;
    void slave.store.putMessage(producerMessage("new", { TIMER_DELIVER_MS: String(at) }));
    await started(slave);
    assert.match(slave.lines.join("\n"), /took messages back/);
    await advance(30_000);
    await until("all", () => slave.delivered.length >= 6);
    assert.deepEqual(slave.delivered, ["other", "m0", "m1", "m2", "m3", "new"]);
    assert.equal(slave.store.maxOffset, 11 * RECORD_SIZE);
  });

  it("lets a master become a slave and a master again", async () => {
    await started(node);
    for (let i = 0; i < 4; i++) node.send(`m${i}`, { TIMER_DELAY_SEC: String(2 + 5 * i) });
    await advance(3000);
    await deliveredIs(["m0"]);
    await node.timer.follow();
    await advance(5000);
    assert.deepEqual(node.delivered, ["m0"]);
    await started(node);
    await advance(1000);
    await deliveredIs(["m0", "m1"]);
    void node.timer.follow();
    await started(node);
    await advance(20_000);
    await deliveredIs(["m0", "m1", "m2", "m3"]);
  });
});
