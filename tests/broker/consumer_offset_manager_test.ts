// Consumer offsets: commits, resets, the file and when it is written, and what a slave does with its master's table.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { IoError } from "../../src/base/errors.ts";
import { ConsumerOffsetManager, transactionProgressOf } from "../../src/broker/consumer_offset_manager.ts";
import { type JavaJsonObject, parseJavaJson, writeJavaJson } from "../../src/remoting/java_json.ts";
import { MemoryFileSystem } from "../fuzz/memory_fs.ts";
import { MemoryLogger } from "../support/ha_options.ts";
import { ManualClock } from "../support/manual_clock.ts";

const FILE = "/store/config/consumerOffset.json";

let clock: ManualClock;
let fs: MemoryFileSystem;
let logger: MemoryLogger;
let manager: ConsumerOffsetManager;

beforeEach(() => {
  clock = new ManualClock();
  fs = new MemoryFileSystem("/store");
  logger = new MemoryLogger();
  manager = make();
});

/** A manager as a node makes it at its start. */
function make(): ConsumerOffsetManager {
  const made = new ConsumerOffsetManager({
    fs,
    clock,
    logger,
    directory: "/store/config",
    config: { flushConsumerOffsetInterval: 5000, consumerOffsetUpdateVersionStep: 3, useServerSideResetOffset: true },
  });
  made.load();
  return made;
}

function fileText(): string | null {
  const bytes = fs.readFile(FILE);
  return bytes === null ? null : utf8.decode(bytes).replace(/\s/g, "");
}

/** Lets the write that a timer began come to its end. */
async function settled(): Promise<void> {
  await manager.persist();
}

/** A master's answer. */
function body(
  offsets: Record<string, Record<number, number>>,
  version: [number, number] | null = null,
): JavaJsonObject {
  const dataVersion = version === null
    ? {}
    : { dataVersion: { counter: version[0], stateVersion: 0, timestamp: version[1] } };
  return parseJavaJson(JSON.stringify({ ...dataVersion, offsetTable: offsets })) as JavaJsonObject;
}

describe("ConsumerOffsetManager", () => {
  it("knows what was committed, the last word counting", () => {
    assert.equal(manager.queryOffset("g", "T", 0), -1);
    manager.commitOffset("g", "T", 0, 10);
    manager.commitOffset("g", "T", 1, 5);
    manager.commitOffset("g", "T", 0, 8, "10.0.0.1:5");
    assert.equal(manager.queryOffset("g", "T", 0), 8);
    assert.deepEqual([...manager.offsetsOf("g", "T")], [[0, 8], [1, 5]]);
    assert.deepEqual(logger.lines.filter(({ level }) => level === "warn").map((line) => line.fields), [
      { key: "T@g", queueId: 0, offset: 8, before: 10, clientHost: "10.0.0.1:5", repeated: 0 },
    ]);
    assert.equal(manager.offsetsOf("h", "T").size, 0);
  });

  it("writes 5 s after the first change, in Apache's form, and rests then", async () => {
    manager.commitOffset("g", "T", 0, 10);
    clock.advance(4000);
    manager.commitOffset("g", "T", 1, 10);
    assert.equal(fileText(), null);
    clock.advance(1000);
    await settled();
    const text = '{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":TIME},"offsetTable":{"T@g":{0:10,1:10}}}';
    assert.equal(fileText()!.replace(/\d{13}/, "TIME"), text);
    assert.equal(clock.timers, 0);
    assert.deepEqual([...make().offsetsOf("g", "T")], [[0, 10], [1, 10]]);
    manager.commitOffset("g", "T", 0, 11);
    await manager.stop();
    assert.match(fileText()!, /"T@g":\{0:11,1:10\}/);
    assert.equal(clock.timers, 0);
    manager.commitOffset("g", "T", 0, 12);
    assert.equal(clock.timers, 0, "nothing is written after the end");
  });

  it("tries again when the disk is full", async () => {
    const write = fs.writeFile.bind(fs);
    fs.writeFile = () => {
      throw new IoError("noSpace", "No space left");
    };
    manager.commitOffset("g", "T", 0, 10);
    clock.advance(5000);
    await assert.rejects(manager.persist(), IoError);
    fs.writeFile = write;
    await Promise.resolve();
    assert.equal(clock.timers, 1);
    clock.advance(5000);
    await settled();
    assert.match(fileText()!, /"T@g":\{0:10\}/);
  });

  it("moves its version every so many commits", () => {
    const counters = [1, 2, 3, 4, 5, 6].map((offset) => {
      clock.advance(10);
      manager.commitOffset("g", "T", 0, offset);
      return manager.dataVersion.counter;
    });
    assert.deepEqual(counters, [0, 0, 1, 1, 1, 2]);
    assert.equal(manager.dataVersion.timestamp, clock.now());
  });

  it("reads files of 4.9 and of 5.x, three-part keys, quoted and bare queue ids, and drops what is no offset", async () => {
    fs.put(
      FILE,
      utf8.encode(
        '{"groupTopicMap":{"g":["T"]},"kept":1,"offsetTable":{"T@g":{0:10,"1":11,"x":3,2:"12",3:1.5,4:null},' +
          '"T@g@broadcast":{0:4},"%RETRY%g@g":{},"bad":7,"U@g":{0:9223372036854775807}}}',
      ),
    );
    manager = make();
    assert.deepEqual([...manager.offsetsOf("g", "T")], [[0, 10], [1, 11], [2, 12]]);
    assert.equal(manager.queryOffset("g@broadcast", "T", 0), 4);
    assert.equal(manager.queryOffset("g", "U", 0), Number.MAX_SAFE_INTEGER);
    assert.deepEqual(manager.whichTopicByConsumer("g").sort(), ["%RETRY%g", "T", "U"]);
    assert.deepEqual(manager.whichGroupByTopic("T"), ["g"]);
    const before = fileText();
    await manager.stop();
    assert.equal(fileText(), before, "a file nobody changed is left as it is");
    manager = make();
    manager.commitOffset("g", "T", 0, 20);
    await manager.stop();
    assert.match(
      fileText()!,
      /^\{"kept":1,"dataVersion":\{[^}]+\},"offsetTable":\{"T@g":\{0:20,1:11,2:12\},"T@g@broad/,
    );
  });

  it("sends a group elsewhere once: until its consumer hears of it, its commits count for nothing", () => {
    manager.commitOffset("g", "T", 0, 100);
    const { counter } = manager.dataVersion;
    manager.assignResetOffset("g", "T", 0, 40);
    assert.equal(manager.dataVersion.counter, counter + 1);
    assert.equal(manager.hasOffsetReset("g", "T", 0), true);
    assert.equal(manager.hasOffsetReset("g", "T", 1), false);
    assert.equal(manager.queryOffset("g", "T", 0), 40);
    manager.commitOffset("g", "T", 0, 101);
    assert.equal(manager.queryOffset("g", "T", 0), 40);
    assert.equal(manager.queryThenEraseResetOffset("g", "T", 0), 40);
    assert.equal(manager.queryThenEraseResetOffset("g", "T", 0), null);
    assert.equal(manager.queryOffset("g", "T", 0), 101);
    for (const [queueId, offset] of [[-1, 5], [0, -1]] as const) manager.assignResetOffset("g", "T", queueId, offset);
    assert.equal(manager.hasOffsetReset("g", "T", 0), false);
  });

  it("keeps pull offsets apart", () => {
    manager.commitOffset("g", "T", 0, 10);
    assert.equal(manager.queryPullOffset("g", "T", 0), 10);
    manager.commitPullOffset("g", "T", 0, 42);
    assert.equal(manager.queryPullOffset("g", "T", 0), 42);
    assert.equal(manager.queryOffset("g", "T", 0), 10);
    assert.equal(manager.queryPullOffset("g", "T", 1), -1);
  });

  it("knows a group's topics of now after every change of the table", () => {
    const topics = () => manager.whichTopicByConsumer("g").sort();
    assert.deepEqual(topics(), []);
    manager.commitOffset("g", "T", 0, 10);
    assert.deepEqual(topics(), ["T"]);
    manager.commitOffset("g", "U", 0, 10);
    manager.whichTopicByConsumer("g").push("not the table's");
    assert.deepEqual(topics(), ["T", "U"]);
    manager.cleanOffsetByTopic("T");
    assert.deepEqual(topics(), ["U"]);
    const document = parseJavaJson('{"offsetTable":{"V@g":{0:1}}}') as JavaJsonObject;
    manager.replace(document);
    assert.deepEqual(topics(), ["V"]);
  });

  it("forgets groups and topics whole, clones a group", () => {
    for (const [group, topic] of [["g", "T"], ["g", "U"], ["gg", "T"], ["g@broadcast", "T"]] as const) {
      manager.commitOffset(group, topic, 0, 1);
      manager.assignResetOffset(group, topic, 0, 1);
      manager.commitPullOffset(group, topic, 0, 9);
    }
    manager.cloneOffset("g", "copy", "U");
    assert.equal(manager.queryOffset("copy", "U", 0), 1);
    manager.removeGroup("g");
    assert.deepEqual(manager.whichTopicByConsumer("g"), []);
    assert.equal(manager.hasOffsetReset("g", "T", 0), false);
    assert.equal(manager.queryPullOffset("g", "T", 0), -1);
    assert.deepEqual([...manager.offsetTable.keys()], ["T@gg", "T@g@broadcast", "U@copy"]);
    manager.cleanOffsetByTopic("T");
    assert.deepEqual([...manager.offsetTable.keys()], ["T@g@broadcast", "U@copy"]);
  });

  it("tells the least offset of all groups that lies in the queue", () => {
    manager.commitOffset("g", "T", 0, 30);
    manager.commitOffset("h", "T", 0, 20);
    manager.commitOffset("h", "T", 1, 5);
    manager.commitOffset("i", "T", 0, 2);
    const least = (filter: string[]) => [...manager.queryMinOffsetInAllGroup("T", filter, () => 10)];
    assert.deepEqual(least([]), [[0, 20]]);
    assert.deepEqual(least(["h"]), [[0, 30]]);
    assert.equal(manager.queryOffset("h", "T", 0), 20, "Apache deletes them here");
  });
});

describe("the text of consumer offsets", () => {
  it("is what the general writer makes of the document, in every form", () => {
    const check = () => {
      for (const pretty of [true, false]) {
        for (const quoteIntegerKeys of [true, false]) {
          const format = { pretty, quoteIntegerKeys };
          assert.equal(manager.encode(format), writeJavaJson(manager.document, format));
        }
      }
      const slaves = parseJavaJson(manager.encodeForSlaves()) as JavaJsonObject;
      assert.deepEqual(
        Object.keys(slaves),
        [...Object.keys(manager.document).slice(0, -1), "dataVersion", "offsetTable"].filter(
          (key, index, keys) => keys.indexOf(key) === index,
        ),
      );
    };
    check();
    manager.commitOffset("g", "T", 0, 10);
    check();
    manager.commitOffset("g", "T", 12, -1);
    manager.commitOffset('"\\\u0001', "é", 3, Number.MAX_SAFE_INTEGER);
    check();
    manager.replace(parseJavaJson('{"a":{"b":{}},"offsetTable":{"T@g":{},"U@g":{0:1}}}') as JavaJsonObject);
    check();
  });

  it("stays within bounds: a new key is refused when the file would be too long", () => {
    const group = "g".repeat(1_000_000);
    let taken = 0;
    while (manager.commitOffset(`${group}${taken}`, "T", 0, 1)) taken++;
    assert.equal(taken, 34);
    assert.equal(manager.commitOffset(`${group}0`, "T", 0, 2), true, "known ones go on");
    manager.removeGroup(`${group}0`);
    assert.equal(manager.commitOffset("other", "T", 0, 1), true);
  });
});

describe("a slave's consumer offsets", () => {
  it("are the master's: what it has forgotten goes, what it set back is set back", () => {
    manager.adopt(body({ "T@g": { 0: 10, 1: 5 }, "U@g": { 0: 3 } }, [1, 100]));
    assert.deepEqual(manager.dataVersion, { counter: 1, stateVersion: 0, timestamp: 100 });
    manager.adopt(body({ "T@g": { 0: 2, 1: 9 } }, [1, 100]));
    assert.deepEqual([...manager.offsetTable.keys()], ["T@g"]);
    assert.deepEqual([...manager.offsetsOf("g", "T")], [[0, 2], [1, 9]]);
    assert.equal(clock.timers, 0, "who adopts persists");
  });

  it("are written when they changed, and only then", async () => {
    manager.adopt(body({ "T@g": { 0: 10 } }, [1, 100]));
    await manager.persist();
    const text = fileText();
    assert.match(text!, /"T@g":\{0:10\}/);
    fs.writeFile = () => assert.fail("wrote the same again");
    manager.adopt(body({ "T@g": { 0: 10 } }, [1, 100]));
    await manager.persist();
  });

  // apache/rocketmq#1094, with a slave that serves consumers while its master is away.
  it("stay where they were committed here while a master that came back is behind and does not move", () => {
    manager.adopt(body({ "T@g": { 0: 100, 1: 100 } }, [5, 100]));
    manager.commitOffset("g", "T", 0, 900);
    assert.equal(manager.dataVersion.counter, 6, "the first commit here shows in the version");
    // The master had got a little further before it went down.
    for (let round = 0; round < 3; round++) {
      manager.adopt(body({ "T@g": { 0: 105, 1: 105 } }, [5, 100]));
      assert.deepEqual([...manager.offsetsOf("g", "T")], [[0, 900], [1, 105]], `round ${round}`);
    }
    assert.equal(logger.lines.filter((line) => line.message.includes("older than those committed here")).length, 1);
    // A consumer goes on there.
    manager.adopt(body({ "T@g": { 0: 905, 1: 105 } }, [6, 200]));
    assert.deepEqual([...manager.offsetsOf("g", "T")], [[0, 905], [1, 105]]);
    manager.adopt(body({ "T@g": { 0: 904, 1: 105 } }, [6, 200]));
    assert.equal(manager.queryOffset("g", "T", 0), 904, "from then on the master is right again");
  });

  it("follow the master as soon as it moves, also when that is below: a reset, or a consumer that began anew", () => {
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    manager.commitOffset("g", "T", 0, 900);
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 900);
    manager.adopt(body({ "T@g": { 0: 50 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 50);
  });

  it("are looked at anew after another commit here", () => {
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    manager.commitOffset("g", "T", 0, 900);
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    manager.commitOffset("g", "T", 0, 950);
    // It came back a second time, a little further: that it moved was before the last commit here, for all we know.
    manager.adopt(body({ "T@g": { 0: 120 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 950);
  });

  it("keep groups that the master never heard of, until it does", () => {
    manager.adopt(body({}, [5, 100]));
    manager.commitOffset("new", "T", 0, 7);
    manager.adopt(body({}, [5, 100]));
    assert.equal(manager.queryOffset("new", "T", 0), 7);
    manager.adopt(body({ "T@new": { 0: 1 } }, [5, 100]));
    assert.equal(manager.queryOffset("new", "T", 0), 1);
  });

  it("stay over a restart of the slave, which its version tells", async () => {
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    manager.commitOffset("g", "T", 0, 900);
    await manager.stop();
    manager = make();
    manager.adopt(body({ "T@g": { 0: 105 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 900);
    await manager.stop();
    manager = make();
    manager.adopt(body({ "T@g": { 0: 105 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 900, "and over another");
    manager.adopt(body({ "T@g": { 0: 106 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 106);
    await manager.stop();
    manager = make();
    manager.adopt(body({ "T@g": { 0: 80 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 80, "nothing of its own is left");
  });

  it("are the master's after a restart when nothing was committed here, however far it set them back", async () => {
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    await manager.stop();
    manager = make();
    manager.adopt(body({ "T@g": { 0: 3 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 3);
  });

  it("are the master's, whole, once the log was cut: messages they count may be gone", async () => {
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    manager.commitOffset("g", "T", 0, 900);
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    manager.forgetOwnCommits();
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 100);
    manager.commitOffset("g", "T", 0, 110);
    await manager.stop();
    manager = make();
    manager.forgetOwnCommits();
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    assert.equal(manager.queryOffset("g", "T", 0), 100, "also right after a start");
  });

  it("do not stay when they count more messages than the queue has: the log lost those", async () => {
    let end = 105;
    manager.setQueueEnds((topic, queueId) => topic === "T" && queueId === 0 ? end : 0);
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    manager.commitOffset("g", "T", 0, 105);
    manager.commitOffset("g@broadcast", "T", 0, 104);
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    assert.deepEqual([manager.queryOffset("g", "T", 0), manager.queryOffset("g@broadcast", "T", 0)], [105, 104]);
    end = 104;
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, 100]));
    assert.deepEqual([manager.queryOffset("g", "T", 0), manager.queryOffset("g@broadcast", "T", 0)], [100, 104]);
  });

  it("leave how far checks of transactions are to its own call, and forget that when the log is cut", async () => {
    const half = "RMQ_SYS_TRANS_HALF_TOPIC@CID_RMQ_SYS_TRANS";
    const progress = () => manager.queryOffset("CID_RMQ_SYS_TRANS", "RMQ_SYS_TRANS_HALF_TOPIC", 0);
    manager.adopt(body({ "T@g": { 0: 1 }, [half]: { 0: 7 } }, [1, 1]));
    assert.deepEqual([manager.queryOffset("g", "T", 0), progress()], [1, -1]);
    const theirs = transactionProgressOf(body({ "T@g": { 0: 2 }, [half]: { 0: 7 } }, [2, 2]));
    manager.adoptTransactionProgress(theirs);
    assert.deepEqual([manager.queryOffset("g", "T", 0), progress()], [1, 7]);
    assert.deepEqual(manager.dataVersion, { stateVersion: 0, counter: 1, timestamp: 1 });
    manager.adopt(body({ "T@g": { 0: 3 }, [half]: { 0: 9 } }, [3, 3]));
    assert.deepEqual([manager.queryOffset("g", "T", 0), progress()], [3, 7]);
    await manager.stop();
    manager = make();
    assert.equal(progress(), 7);
    assert.equal(manager.takeOverFromStandIn(body({ [half]: { 0: 9 } }, [9, 9]), () => 100), 0);
    manager.forgetOwnCommits();
    assert.equal(progress(), -1);
    assert.equal(manager.dataVersion.counter, 3, "the master's table is not the older one for it");
  });

  it("beyond a queue's end are lowered to it when this broker begins to take puts", () => {
    const ends = new Map([["T", 104], ["U", 0]]);
    manager.setQueueEnds((topic) => ends.get(topic)!);
    manager.adopt(body({ "T@g": { 0: 105, 1: 104 }, "U@g": { 0: 3 }, "T@g@broadcast": { 0: 900 } }, [5, 100]));
    assert.equal(manager.lowerToQueueEnds(), 2);
    assert.deepEqual([...manager.offsetsOf("g", "T")], [[0, 104], [1, 104]]);
    assert.deepEqual([...manager.offsetsOf("g", "U")], [[0, 0]]);
    const { dataVersion } = manager;
    assert.equal(dataVersion.counter, 6, "slaves tell it from an offset of long ago");
    assert.equal(manager.lowerToQueueEnds(), 0);
    assert.deepEqual(manager.dataVersion, dataVersion);
    // Who stood in for it is heard all the same.
    const standIn = body({ "T@g": { 1: 106 } }, [5, 100]);
    assert.equal(manager.takeOverFromStandIn(standIn, () => 200), 1);
    assert.equal(manager.takeOverFromStandIn(body({ "T@g": { 1: 107 } }, [5, 100]), () => 200), 0);
  });

  it("are told apart by versions that only grow, whatever the clocks say", async () => {
    const future = clock.now() + 1_000_000;
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, future]));
    manager.commitOffset("g", "T", 0, 900);
    assert.deepEqual(manager.dataVersion, { stateVersion: 0, counter: 6, timestamp: future + 1 });
    await manager.stop();
    manager = make();
    manager.adopt(body({ "T@g": { 0: 100 } }, [5, future]));
    assert.equal(manager.queryOffset("g", "T", 0), 900);
  });

  it("are taken as they come from a 4.9 master, whose table has no version", async () => {
    manager.commitOffset("g", "T", 0, 900);
    await manager.stop();
    manager = make();
    manager.adopt(body({ "T@g": { 0: 100 } }));
    assert.equal(manager.queryOffset("g", "T", 0), 100);
    manager.commitOffset("g", "T", 0, 950);
    manager.adopt(body({ "T@g": { 0: 100 } }));
    assert.equal(manager.queryOffset("g", "T", 0), 950, "within a life the rule needs no version");
  });

  it("go to a master that comes back, as far as its queues reach", () => {
    manager.commitOffset("g", "T", 0, 100);
    manager.commitOffset("g", "T", 1, 100);
    const theirs = { "T@g": { 0: 900, 1: 50, 2: 7 }, "T@g@broadcast": { 0: 9 }, "U@g": { 0: 5 } };
    const ends: Record<string, number> = { T0: 1000, T1: 1000, T2: 6, U0: 5 };
    const maxOffset = (topic: string, queueId: number) => ends[topic + queueId] ?? 0;
    assert.equal(manager.takeOverFromStandIn(body(theirs, [0, 5]), maxOffset), 0, "an older table is not looked at");
    assert.equal(manager.takeOverFromStandIn(body(theirs), maxOffset), 0, "nor is one without a version");
    const { counter, timestamp } = manager.dataVersion;
    assert.equal(manager.takeOverFromStandIn(body(theirs, [counter, timestamp]), maxOffset), 2);
    assert.deepEqual([...manager.offsetsOf("g", "T")], [[0, 900], [1, 100]]);
    assert.equal(manager.queryOffset("g", "U", 0), 5);
    assert.ok(manager.dataVersion.counter > counter);
    manager.assignResetOffset("g", "T", 0, 3);
    const later = { "T@g": { 0: 950, 1: 101 } };
    assert.equal(manager.takeOverFromStandIn(body(later, [99, clock.now() + 1000]), maxOffset), 1);
    assert.equal(manager.queryOffset("g", "T", 0), 3, "an administrator's word stands");
  });
});
