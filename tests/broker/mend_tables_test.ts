// What a broker that begins to take puts mends of its tables.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { IoError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { ConsumerOffsetManager } from "../../src/broker/consumer_offset_manager.ts";
import { mendTables } from "../../src/broker/mend_tables.ts";
import { TopicConfigManager } from "../../src/broker/topic_config_manager.ts";
import { ManualClock, recordingLogger, runtime } from "../remoting/support.ts";

describe("mending tables", () => {
  const directory = mkdtempSync(join(tmpdir(), "twinlog-mend-"));
  after(() => rmSync(directory, { recursive: true, force: true }));

  it("makes the topics and queues that the log has and no table knew, but none that was deleted", () => {
    const clock = new ManualClock();
    const { logger, lines } = recordingLogger();
    const options = { fs: runtime.fs, clock, logger, directory };
    const topics = new TopicConfigManager(options);
    const offsets = new ConsumerOffsetManager(options);
    const managers = { topicConfigManager: topics, consumerOffsetManager: offsets };
    topics.adopt({
      dataVersion: { counter: 1, stateVersion: 0, timestamp: 1000 },
      topicConfigTable: Object.fromEntries(["Known", "Shrunk", "Grown"].map((topicName) => [
        topicName,
        { topicName, readQueueNums: 2, writeQueueNums: 2, perm: 4 },
      ])),
    });
    const queue = (topic: string, queueId: number, storeTimestamp: number, bornTimestamp = storeTimestamp) => {
      return { topic, queueId, minOffset: 0, maxOffset: 5, times: { storeTimestamp, bornTimestamp } };
    };
    const queues = [
      queue("Known", 1, 2000),
      queue("Shrunk", 5, 1000),
      queue("Grown", 5, 2000),
      queue("Deleted", 0, 1000),
      queue("DeliveredLate", 0, 2000, 1000),
      queue("New", 0, 900),
      queue("New", 6, 1001),
      { ...queue("Emptied", 0, 2000), maxOffset: 0 },
      queue("Unreadable", 0, 2000),
    ];
    const store = {
      queues: () => queues,
      getMessageTimes: (topic: string, queueId: number, queueOffset: number) => {
        if (topic === "Unreadable") throw new IoError("other", "EIO");
        const found = queues.find((it) => it.topic === topic && it.queueId === queueId);
        return queueOffset === 4 ? found!.times : null;
      },
    };
    offsets.setQueueEnds(() => 5);
    offsets.commitOffset("g", "Known", 0, 6);
    mendTables({ store, managers, logger });
    const seen = topics.topicNames().sort().map((name) => {
      const { readQueueNums, writeQueueNums, perm } = topics.selectTopicConfig(name)!;
      return [name, readQueueNums, writeQueueNums, perm];
    });
    assert.deepEqual(seen, [["Grown", 6, 6, 4], ["Known", 2, 2, 4], ["New", 7, 7, 6], ["Shrunk", 2, 2, 4]]);
    assert.equal(offsets.queryOffset("g", "Known", 0), 5);
    const warnings = () => lines.filter((line) => line.startsWith("warn")).length;
    const before = warnings();
    mendTables({ store, managers, logger });
    assert.equal(warnings() - before, 1, "one that can't be read is said again");
  });

  it("makes what a message that waited needs, unless somebody has decided otherwise since", () => {
    const clock = new ManualClock();
    clock.advance(10_000);
    const topics = new TopicConfigManager({ fs: runtime.fs, clock, logger: SILENT_LOGGER, directory });
    const from = clock.now();
    assert.equal(topics.restoreTopic("T", 2, from), true);
    assert.equal(topics.restoreTopic("T", 9, from), true);
    assert.equal(topics.selectTopicConfig("T")!.readQueueNums, 10);
    topics.updateTopicConfig({ ...topics.selectTopicConfig("T")!, readQueueNums: 3, writeQueueNums: 3 });
    assert.equal(topics.restoreTopic("T", 9, from), false);
    topics.deleteTopicConfig("T");
    topics.deleteTopicConfig("NeverHeardOf");
    assert.deepEqual(["T", "NeverHeardOf"].map((topic) => topics.restoreTopic(topic, 0, from)), [false, false]);
    assert.equal(topics.restoreTopic("Other", 0, from), true);
    // A table without a version counts as complete.
    topics.adopt({ topicConfigTable: {} });
    assert.equal(topics.restoreTopic("U", 0, Number.MAX_SAFE_INTEGER), false);
  });
});
