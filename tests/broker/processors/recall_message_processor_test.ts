// Calling back a message that waits for its time.

import { beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { recallMessageProcessors, type RecallPorts } from "../../../src/broker/processors/recall_message_processor.ts";
import { encodeRecallHandle, recallHandleOf } from "../../../src/broker/timer/recall_handle.ts";
import { timerHook } from "../../../src/broker/timer/timer_hook.ts";
import { TOPIC_DEFAULTS } from "../../../src/broker/topic_config_manager.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { RequestContext } from "../../../src/remoting/remoting_server.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { HOST, MemoryStore, producerMessage } from "../schedule/memory_store.ts";

let store: MemoryStore;
let clock: ManualClock;
let ports: { -readonly [K in keyof RecallPorts]: RecallPorts[K] };
let config: { -readonly [K in keyof RecallPorts["config"]]: RecallPorts["config"][K] };
let handle: string;

beforeEach(() => {
  clock = new ManualClock();
  store = new MemoryStore(clock, "1s");
  const timer = { timerWheelEnable: true, timerPrecisionMs: 1000, timerMaxDelaySec: 1000 };
  store.hooks = [timerHook({ config: timer, now: () => clock.now() })];
  config = {
    recallMessageEnable: true,
    brokerName: "broker-a",
    regionId: "R",
    startAcceptSendRequestTimeStamp: 0,
    timerMaxDelaySec: 1000,
  };
  ports = {
    config,
    topics: { selectTopicConfig: (topic) => topic === "T" ? { ...TOPIC_DEFAULTS, topicName: topic } : null },
    puts: store,
    storeHost: HOST,
    isSlave: () => false,
    now: () => clock.now(),
  };
  void store.putMessage(producerMessage("a", { UNIQ_KEY: "K", TIMER_DELAY_SEC: "10" }));
  handle = recallHandleOf(store.records[0]!, "broker-a")!;
});

async function recall(ext: ExtValues = {}): Promise<RemotingCommand> {
  const request = createRequest(370, { topic: "T", recallHandle: handle, producerGroup: "p", ...ext });
  const context = { remoteAddress: "10.1.2.3:55555" } as RequestContext;
  return await recallMessageProcessors(ports).get(370)!(request, context) as RemotingCommand;
}

describe("RECALL_MESSAGE", () => {
  it("puts what calls the message back into the message's slot", async () => {
    const answer = await recall();
    assert.equal(answer.code, 0);
    assert.deepEqual([...answer.extFields], [["MSG_REGION", "R"], ["msgId", "K"]]);
    const [message, recalling] = store.messages("rmq_sys_wheel_timer", 0);
    const { properties, bornHost, body } = recalling!;
    assert.equal(properties.get("TIMER_OUT_MS"), message!.properties.get("TIMER_OUT_MS"));
    assert.deepEqual([...properties].slice(0, 3), [
      ["TAGS", "_RECALL_TAG_"],
      ["TIMER_DEL_UNIQKEY", "T+K"],
      ["UNIQ_KEY", "K"],
    ]);
    assert.equal(properties.get("PGROUP"), "p");
    assert.equal(properties.get("REAL_TOPIC"), "T");
    assert.equal(properties.get("BORN_TIMESTAMP"), String(clock.now()));
    assert.deepEqual([bornHost.address, bornHost.port, body], [
      Uint8Array.of(10, 1, 2, 3),
      55555,
      Uint8Array.of(0x30),
    ]);
  });

  it("refuses in Apache's order", async () => {
    const code = async (ext?: ExtValues) => {
      const answer = await recall(ext);
      assert.equal(answer.extFields.get("MSG_REGION"), "R");
      return answer.code;
    };
    const other = (over: object) =>
      encodeRecallHandle({
        topic: "T",
        brokerName: "broker-a",
        timestamp: String(clock.now() + 5000),
        messageId: "K",
        ...over,
      });
    config.recallMessageEnable = false;
    ports.isSlave = () => true;
    assert.equal(await code(), 16);
    config.recallMessageEnable = true;
    config.startAcceptSendRequestTimeStamp = clock.now() + 1;
    assert.equal(await code(), 11);
    ports.isSlave = () => false;
    assert.equal(await code({ topic: "U" }), 14);
    config.startAcceptSendRequestTimeStamp = 0;
    assert.equal(await code({ topic: "U", recallHandle: "x" }), 17);
    assert.equal(await code({ recallHandle: "x" }), 604);
    assert.equal(await code({ recallHandle: other({ topic: "U" }) }), 604);
    assert.equal(await code({ recallHandle: other({ brokerName: "b" }) }), 604);
    assert.equal(await code({ recallHandle: other({ timestamp: "soon" }) }), 604);
    assert.equal(await code({ recallHandle: other({ timestamp: String(clock.now()) }) }), 604);
    assert.equal(await code({ recallHandle: other({ timestamp: String(clock.now() + 1_000_000) }) }), 604);
    store.refuse = () => "SERVICE_NOT_AVAILABLE";
    assert.equal(await code(), 1);
    store.refuse = () => null;
    assert.equal(store.records.length, 1);
    assert.equal(await code(), 0);
    await assert.rejects(recall({ recallHandle: null }), /recallHandle/);
  });
});
