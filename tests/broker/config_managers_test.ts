// The config files: read as Apache left them, kept, changed, written so that a crash leaves a whole file.

import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IoError, RemotingError, StoreError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { ConfigManager, type ConfigManagerOptions } from "../../src/broker/config_manager.ts";
import { ConsumerOffsetManager } from "../../src/broker/consumer_offset_manager.ts";
import { DelayOffsetManager } from "../../src/broker/schedule/delay_offset_manager.ts";
import { SubscriptionGroupManager } from "../../src/broker/subscription_group_manager.ts";
import { TOPIC_DEFAULTS, TopicConfigManager } from "../../src/broker/topic_config_manager.ts";
import { checkTopicName } from "../../src/broker/topic_validator.ts";
import { type JavaJsonObject, javaJsonObject, parseJavaJson } from "../../src/remoting/java_json.ts";
import type { FileSystem } from "../../src/runtime/runtime.ts";
import { SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { ManualClock, recordingLogger, runtime } from "../remoting/support.ts";

let directory: string;
let clock: ManualClock;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "twinlog-config-"));
  clock = new ManualClock();
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

function options(extra: Partial<ConfigManagerOptions> = {}): ConfigManagerOptions {
  return { fs: runtime.fs, clock, logger: SILENT_LOGGER, directory, ...extra };
}

function put(name: string, text: string): void {
  writeFileSync(join(directory, name), text);
}

function get(name: string): string {
  return readFileSync(join(directory, name), "utf8");
}

const TOPICS = '{\n\t"dataVersion":{\n\t\t"counter":3,\n\t\t"stateVersion":0,\n\t\t"timestamp":1795245003323\n\t},\n' +
  '\t"futureField":{"x":[1,2]},\n\t"topicConfigTable":{\n\t\t"TopicTest":{\n\t\t\t"attributes":{\n\t\t\t\t"message.type":"FIFO"\n' +
  '\t\t\t},\n\t\t\t"order":true,\n\t\t\t"perm":4,\n\t\t\t"readQueueNums":2,\n\t\t\t"topicFilterType":"SINGLE_TAG",\n' +
  '\t\t\t"topicName":"TopicTest",\n\t\t\t"topicSysFlag":0,\n\t\t\t"writeQueueNums":3\n\t\t}\n\t}\n}';

describe("TopicConfigManager", () => {
  it("makes topics for sends after their template, with a queue at least, whatever their names are", async () => {
    const topics = new TopicConfigManager(options());
    topics.load();
    topics.setSystemTopics([{ ...TOPIC_DEFAULTS, topicName: "TBW102", writeQueueNums: 8, perm: 7 }]);
    const queues = (topic: string, asked: number) =>
      topics.createTopicInSendMessageMethod(topic, "TBW102", asked, 0)?.writeQueueNums;
    assert.deepEqual([queues("a", 4), queues("b", 2 ** 40), queues("c", 0), queues("d", -7)], [4, 8, 1, 1]);
    assert.deepEqual([queues("__proto__", 2), queues("constructor", 3)], [2, 3]);
    assert.equal(topics.createTopicInSendMessageMethod("e", "a", 4, 0), null, "no template");
    const { counter } = topics.dataVersion;
    assert.equal(queues("a", 7), 4);
    assert.equal(topics.dataVersion.counter, counter);
    await topics.persist();
    const again = new TopicConfigManager(options());
    again.load();
    assert.deepEqual(again.topicNames().sort(), ["__proto__", "a", "b", "c", "constructor", "d"]);
  });

  it("bounds the topics that sends make, not those of administrators", async () => {
    const topics = new TopicConfigManager(options());
    const table = javaJsonObject();
    for (let i = 0; i < 50_000; i++) table[`t${i}`] = javaJsonObject({ perm: 7 });
    topics.adopt(javaJsonObject({ topicConfigTable: table }));
    const make = (topic: string) => topics.createTopicInSendMessageMethod(topic, "t9", 4, 0);
    assert.equal(make("one-more"), null);
    assert.notEqual(make("t5"), null);
    topics.updateTopicConfig({ ...TOPIC_DEFAULTS, topicName: "one-more" });
    topics.deleteTopicConfig("t0");
    topics.deleteTopicConfig("t1");
    assert.notEqual(make("another"), null);
    assert.equal(make("too many"), null);
    await topics.persist();
  });

  it("reads Apache's file and leaves it alone", async () => {
    put("topics.json", TOPICS);
    const topics = new TopicConfigManager(options());
    assert.equal(topics.load(), "file");
    assert.deepEqual(topics.topicNames(), ["TopicTest"]);
    assert.deepEqual(topics.dataVersion, { counter: 3, stateVersion: 0, timestamp: 1795245003323 });
    assert.deepEqual(topics.selectTopicConfig("TopicTest"), {
      topicName: "TopicTest",
      readQueueNums: 2,
      writeQueueNums: 3,
      perm: 4,
      topicFilterType: "SINGLE_TAG",
      topicSysFlag: 0,
      order: true,
      attributes: { "message.type": "FIFO" },
    });
    assert.equal(topics.selectTopicConfig("constructor"), null);
    await topics.ensureTopic("TopicTest");
    assert.equal(get("topics.json"), TOPICS);
    assert.deepEqual(readdirSync(directory), ["topics.json"]);
  });

  it("creates a topic: version up, listener told, file replaced, old text in .bak, unknown fields kept", async () => {
    put("topics.json", TOPICS);
    const topics = new TopicConfigManager(options());
    topics.load();
    let changes = 0;
    topics.onChange(() => changes++);
    const creating = topics.ensureTopic("New-1", 8);
    assert.equal(topics.selectTopicConfig("New-1")!.writeQueueNums, 8);
    assert.equal(changes, 1);
    assert.equal((await creating).readQueueNums, 8);
    assert.equal(get("topics.json.bak"), TOPICS);
    const expected = TOPICS.replace('"counter":3', '"counter":4').replace("1795245003323", String(clock.now()))
      .replace('"futureField":{"x":[1,2]}', '"futureField":{\n\t\t"x":[1,2]\n\t}');
    assert.ok(get("topics.json").startsWith(expected.slice(0, -"\n\t}\n}".length)));
    const again = new TopicConfigManager(options());
    assert.equal(again.load(), "file");
    assert.deepEqual(again.document, topics.document);
    assert.deepEqual(readdirSync(directory).sort(), ["topics.json", "topics.json.bak"]);
  });

  it("starts empty without a file, with the boot's time as version, and writes none until it must", async () => {
    const topics = new TopicConfigManager(options());
    assert.equal(topics.load(), "empty");
    assert.deepEqual(topics.dataVersion, { counter: 0, stateVersion: 0, timestamp: clock.now() });
    assert.deepEqual(readdirSync(directory), []);
    clock.advance(5);
    await Promise.all([topics.ensureTopic("A"), topics.ensureTopic("B"), topics.ensureTopic("A")]);
    assert.deepEqual(topics.dataVersion, { counter: 2, stateVersion: 0, timestamp: clock.now() });
    const again = new TopicConfigManager(options());
    again.load();
    assert.deepEqual(again.topicNames(), ["A", "B"]);
  });

  it("refuses names and queue counts that Apache would", async () => {
    const topics = new TopicConfigManager(options());
    for (const name of ["", " ", "a b", "a/b", "..", "é", "a".repeat(128), "a\0"]) {
      assert.throws(() => checkTopicName(name), RemotingError, name);
      await assert.rejects(topics.ensureTopic(name), RemotingError);
    }
    for (const queues of [0, -1, 1.5, NaN, 1e9]) await assert.rejects(topics.ensureTopic("ok", queues), RemotingError);
    checkTopicName("%RETRY%g-1_x|y");
    assert.deepEqual(topics.topicNames(), []);
  });
});

describe("ConfigManager", () => {
  it("falls back to .bak when the file is empty, broken or missing, and says so", () => {
    for (const broken of ["", "  \n", "{", "[]", null]) {
      if (broken !== null) put("topics.json", broken);
      else rmSync(join(directory, "topics.json"), { force: true });
      put("topics.json.bak", TOPICS);
      const { logger, lines } = recordingLogger();
      const topics = new TopicConfigManager(options({ logger }));
      assert.equal(topics.load(), "bak");
      assert.deepEqual(topics.topicNames(), ["TopicTest"]);
      assert.ok(lines.some((line) => line.includes("Read the previous config")));
    }
  });

  it("does not put a broken file over a good .bak", async () => {
    put("topics.json", "broken");
    put("topics.json.bak", TOPICS);
    const topics = new TopicConfigManager(options());
    topics.load();
    await topics.ensureTopic("New");
    assert.equal(get("topics.json.bak"), TOPICS);
    assert.match(get("topics.json"), /"New":\{/);
  });

  it("refuses to start without what was there: both broken, or the only one", () => {
    for (const [file, bak] of [["{", "}"], ["{", null], ["[]", ""], [null, "}"], ["", "\0\0"]] as const) {
      for (const [name, text] of [["topics.json", file], ["topics.json.bak", bak]] as const) {
        if (text === null) rmSync(join(directory, name), { force: true });
        else put(name, text);
      }
      assert.throws(() => new TopicConfigManager(options()).load(), (error: Error) => {
        assert.ok(error instanceof StoreError);
        assert.match(
          error.message,
          /^Can't read ".*topics\.json.*restore ".*topics\.json" .* or remove it and its \.bak/,
        );
        return true;
      });
      // Nothing is touched: somebody may mend it by hand.
      if (file !== null) assert.equal(get("topics.json"), file);
      if (bak !== null) assert.equal(get("topics.json.bak"), bak);
    }
  });

  it("starts empty when both are empty, as a new broker of Apache's may leave them", () => {
    put("topics.json", "");
    put("topics.json.bak", " \n");
    assert.equal(new TopicConfigManager(options()).load(), "empty");
  });

  it("keeps the old file when the disk fails, and the next persist writes", async () => {
    put("topics.json", TOPICS);
    let failing = true;
    const fs = Object.create(runtime.fs) as typeof runtime.fs;
    fs.writeFile = (path, bytes) => {
      if (failing) throw new IoError("noSpace", "Disk full");
      runtime.fs.writeFile(path, bytes);
    };
    const topics = new TopicConfigManager(options({ fs }));
    topics.load();
    await assert.rejects(topics.ensureTopic("New"), IoError);
    assert.equal(get("topics.json"), TOPICS);
    failing = false;
    await topics.persist();
    assert.match(get("topics.json"), /"New":\{/);
  });

  it("can be read after a loss of power at any moment, and is new once the write has resolved", async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 60; seed++) {
      const world = new SimulatedWorld(seed);
      const host = world.host("n");
      const managerOn = (fs: FileSystem) => new ConfigManager("a.json", options({ fs, directory: "/n/config" }));
      const manager = managerOn(host.runtime.fs);
      let resolved = 0;
      // The third one writes over a `.bak`, without a sync.
      for (const state of [1, 2, 3]) {
        manager.replace(javaJsonObject({ state }));
        void manager.persist().then(() => resolved = state, () => undefined);
        if (state <= seed % 3) await world.run(() => resolved === state, 60_000);
      }
      await world.settle();
      for (let left = seed % 5; left > 0; left--) await world.step();
      host.crash();
      const after = managerOn(host.restart().fs);
      const source = after.load();
      const state = source === "empty" ? 0 : after.document.state as number;
      assert.ok(state >= resolved, `seed ${seed}: ${source} ${state} after ${resolved}`);
      seen.add(`${source} ${state}`);
    }
    assert.deepEqual([...seen].sort(), ["empty 0", "file 1", "file 2", "file 3"]);
  });

  it("creates its directory", async () => {
    const manager = new ConfigManager("a.json", options({ directory: join(directory, "x/config") }));
    manager.replace(javaJsonObject({ a: 1 }));
    await manager.persist();
    assert.equal(get("x/config/a.json"), '{\n\t"a":1\n}');
  });
});

describe("offset and group managers", () => {
  it("take over a body with quoted keys and write Apache's form", async () => {
    const offsets = new ConsumerOffsetManager(options());
    offsets.load();
    offsets.adopt(
      parseJavaJson(
        '{"dataVersion":{"counter":5,"stateVersion":0,"timestamp":9},"offsetTable":{"T@g":{"0":12,"1":3}}}',
      ) as JavaJsonObject,
    );
    await offsets.persist();
    assert.equal(
      get("consumerOffset.json"),
      '{\n\t"dataVersion":{\n\t\t"counter":5,\n\t\t"stateVersion":0,\n\t\t"timestamp":9\n\t},\n\t"offsetTable":{\n\t\t"T@g":{0:12,1:3\n\t\t}\n\t}\n}',
    );
    const delay = new DelayOffsetManager(options());
    delay.adopt(
      parseJavaJson(
        '{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":9},"offsetTable":{"1":1}}',
      ) as JavaJsonObject,
    );
    await delay.persist();
    assert.match(get("delayOffset.json"), /"offsetTable":\{1:1\n\t\}/);
  });

  it("keep a 4.9 file without dataVersion as it is", async () => {
    const text = '{\n\t"offsetTable":{\n\t\t"T@g":{0:10,1:10\n\t\t}\n\t}\n}';
    put("consumerOffset.json", text);
    const offsets = new ConsumerOffsetManager(options());
    assert.equal(offsets.load(), "file");
    offsets.adopt(parseJavaJson('{"offsetTable":{"T@g":{0:10,1:10}}}') as JavaJsonObject);
    await offsets.persist();
    assert.equal(get("consumerOffset.json"), text);
    assert.deepEqual(readdirSync(directory), ["consumerOffset.json"]);
  });

  it("replace the group table as a whole", () => {
    put(
      "subscriptionGroup.json",
      '{"dataVersion":{"counter":1,"timestamp":1},"subscriptionGroupTable":{"old":{}},"kept":1}',
    );
    const groups = new SubscriptionGroupManager(options());
    groups.load();
    groups.adopt(javaJsonObject({ subscriptionGroupTable: javaJsonObject({ fresh: javaJsonObject() }) }));
    assert.deepEqual(Object.keys(groups.subscriptionGroupTable as JavaJsonObject), ["fresh"]);
    assert.equal(groups.document.kept, 1);
    assert.equal(groups.dataVersion.counter, 1);
  });
});
