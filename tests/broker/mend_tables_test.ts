// What a broker that begins to take puts mends of its tables.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { ConsumerOffsetManager } from "../../src/broker/consumer_offset_manager.ts";
import { mendTables } from "../../src/broker/mend_tables.ts";
import { TopicConfigManager } from "../../src/broker/topic_config_manager.ts";
import { ManualClock, recordingLogger, runtime } from "../remoting/support.ts";

describe("mending tables", () => {
  const directory = mkdtempSync(join(tmpdir(), "twinlog-mend-"));
  after(() => rmSync(directory, { recursive: true, force: true }));

  it("makes the topics that the log has and no table knew, but none that was deleted", () => {
    const clock = new ManualClock();
    const { logger, lines } = recordingLogger();
    const options = { fs: runtime.fs, clock, logger, directory };
    const topics = new TopicConfigManager(options);
    const offsets = new ConsumerOffsetManager(options);
    const managers = { topicConfigManager: topics, consumerOffsetManager: offsets };
    topics.adopt({
      dataVersion: { counter: 1, stateVersion: 0, timestamp: 1000 },
      topicConfigTable: { Known: { topicName: "Known", readQueueNums: 2, writeQueueNums: 2, perm: 4 } },
    });
    const queue = (topic: string, queueId: number, lastStoreTimestamp: number, maxOffset = 5) => {
      return { topic, queueId, minOffset: 0, maxOffset, lastStoreTimestamp };
    };
    const queues = [
      queue("Known", 5, 2000),
      queue("Deleted", 0, 1000),
      queue("New", 0, 900),
      queue("New", 6, 1001),
      queue("Emptied", 0, 2000, 0),
    ];
    const store = {
      queues: () => queues,
      getMessageStoreTimeStamp: (topic: string, queueId: number, queueOffset: number) => {
        const found = queues.find((it) => it.topic === topic && it.queueId === queueId);
        return queueOffset === 4 ? found!.lastStoreTimestamp : -1;
      },
    };
    offsets.setQueueEnds(() => 5);
    offsets.commitOffset("g", "Known", 0, 6);
    mendTables({ store, managers, logger });
    assert.deepEqual(topics.topicNames().sort(), ["Known", "New"]);
    const made = topics.selectTopicConfig("New")!;
    assert.deepEqual([made.readQueueNums, made.writeQueueNums, made.perm], [7, 7, 6]);
    assert.equal(topics.selectTopicConfig("Known")!.perm, 4);
    assert.equal(offsets.queryOffset("g", "Known", 0), 5);
    assert.equal(lines.filter((line) => line.startsWith("warn")).length, 2);
    mendTables({ store, managers, logger });
    assert.equal(lines.filter((line) => line.startsWith("warn")).length, 2);
  });
});
