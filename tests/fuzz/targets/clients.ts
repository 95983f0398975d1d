// Requests of clients: whatever a peer says of itself, of offsets, of queues, it gets an answer or a refusal, and leaves
// nothing behind when it goes.

import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError, RemotingError } from "../../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { RebalanceLockManager } from "../../../src/broker/client/rebalance_lock_manager.ts";
import { ConsumerOffsetManager, MessageRequestModeManager } from "../../../src/broker/consumer_offset_manager.ts";
import { clientManageProcessors } from "../../../src/broker/processors/client_manage_processor.ts";
import { consumerManageProcessors } from "../../../src/broker/processors/consumer_manage_processor.ts";
import { SubscriptionGroupManager } from "../../../src/broker/subscription_group_manager.ts";
import { TopicConfigManager } from "../../../src/broker/topic_config_manager.ts";
import { isGroupName } from "../../../src/broker/topic_validator.ts";
import { FrameDecoder } from "../../../src/remoting/frame_decoder.ts";
import { parseJavaJson } from "../../../src/remoting/java_json.ts";
import { createRequest, encodeFrame, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import { connect, managers } from "../../broker/client/support.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { MemoryFileSystem } from "../memory_fs.ts";
import { assertPlain } from "../properties.ts";
import { javaJsonText } from "./java_json.ts";

const CODES = [14, 15, 34, 35, 38, 41, 42, 400, 401];
const names = fc.constantFrom("g", "T", "__proto__", "a b", "", "%RETRY%g", "x".repeat(300), "\u001b[2J");
const sub = fc.oneof(
  fc.record({ topic: names, subString: names, subVersion: fc.integer(), tagsSet: fc.array(names, { maxLength: 2 }) })
    .map((one) => JSON.stringify(one)),
  javaJsonText,
);
const consumer = fc.tuple(
  names,
  fc.constantFrom('"CONSUME_PASSIVELY"', "0", "9", "null"),
  fc.array(sub, { maxLength: 3 }),
)
  .map(([group, type, subs]) =>
    `{"groupName":${
      JSON.stringify(group)
    },"consumeType":${type},"messageModel":${type},"subscriptionDataSet":[${subs.join()}]}`
  );
const heartbeat = fc.tuple(
  names,
  fc.array(fc.oneof(consumer, javaJsonText), { maxLength: 3 }),
  fc.array(names),
  fc.boolean(),
)
  .map(([id, consumers, producers, v2]) =>
    `{"clientID":${JSON.stringify(id)},"consumerDataSet":[${consumers.join()}],"producerDataSet":[${
      producers.map((groupName) => JSON.stringify({ groupName })).join()
    }],"heartbeatFingerprint":${v2 ? 7 : 0},"withoutSub":${v2}}`
  );
const queues = fc.tuple(
  names,
  fc.array(fc.oneof(javaJsonText, fc.constant('{"topic":"T","queueId":0}')), { maxLength: 3 }),
)
  .map(([group, mqs]) =>
    `{"clientId":"c","consumerGroup":${
      JSON.stringify(group)
    },"topic":"T","strategyName":"AVG","mode":"PULL","mqSet":[${mqs.join()}]}`
  );
const ext = fc.record({
  consumerGroup: names,
  topic: names,
  queueId: fc.oneof(fc.integer().map(String), names),
  commitOffset: fc.oneof(fc.integer().map(String), names),
  clientID: names,
}, { requiredKeys: [] });
const requests = fc.tuple(fc.constantFrom(...CODES), ext, fc.oneof(heartbeat, queues, javaJsonText))
  .map(([code, fields, body]) => encodeFrame(createRequest(code, fields, utf8.encode(body))));

/** Several requests on one connection. */
export const CLIENT_REQUESTS: FuzzTarget = {
  name: "client_requests",
  runs: 400,
  inputs: fc.array(requests, { minLength: 1, maxLength: 4 }).map((frames) => new Uint8Array(Buffer.concat(frames))),
  async check(input) {
    const broker = brokerSide();
    const connection = connect(broker.clients, "10.0.0.1:1");
    for (const request of commandsIn(input)) {
      const processor = broker.processors.get(request.code);
      if (processor === undefined) continue;
      try {
        const context = { connection: connection.asConnection, remoteAddress: connection.remoteAddress };
        const answer = await processor(request, context);
        if (answer!.body.length > 0) parseJavaJson(utf8.decode(answer!.body));
      } catch (error) {
        if (!(error instanceof RemotingError)) throw error;
        assertPlain(error.message);
        assert.ok(error.message.length <= 700, `Refusal has ${error.message.length} characters`);
      }
    }
    for (const group of broker.clients.consumers.groupNames()) {
      assert.ok(isGroupName(group), `A group of the name ${JSON.stringify(group)} is registered`);
    }
    await Promise.all(broker.files.map((file) => file.persist()));
    connection.close();
    assert.deepEqual(broker.clients.consumers.groupNames(), []);
    assert.equal(broker.clients.producers.groups().size, 0);
    await broker.offsets.stop();
    assert.equal(broker.clock.timers, 0, "A timer is left of a client that is gone");
  },
};

function commandsIn(input: Uint8Array): RemotingCommand[] {
  const commands: RemotingCommand[] = [];
  const decoder = new FrameDecoder();
  try {
    decoder.push(input);
    for (let command = decoder.next(); command !== null; command = decoder.next()) commands.push(command);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
  }
  return commands;
}

function brokerSide() {
  const clock = new ManualClock();
  const options = { fs: new MemoryFileSystem("/store"), clock, logger: SILENT_LOGGER, directory: "/store/config" };
  const topics = new TopicConfigManager(options);
  const groups = new SubscriptionGroupManager(options);
  const offsets = new ConsumerOffsetManager(options);
  const modes = new MessageRequestModeManager(options);
  const files = [topics, groups, offsets, modes];
  for (const file of files) file.load();
  const clients = managers(clock);
  const processors = new Map([
    ...clientManageProcessors({ ...clients, clock, config: { rejectPullConsumerEnable: false }, topics, groups }),
    ...consumerManageProcessors({
      config: { useServerSideResetOffset: true },
      consumers: clients.consumers,
      offsets,
      groups,
      topics,
      modes,
      locks: new RebalanceLockManager({ clock }),
      store: { getMinOffsetInQueue: () => 0, readConsumeQueue: () => [{ pos: 7 }], isInMemory: () => true },
      topicSubscribeInfo: (topic) => topic === "T" ? [{ topic, brokerName: "b", queueId: 0 }] : null,
    }),
  ]);
  return { clock, clients, processors, offsets, files };
}
