// Configuration as somebody may write it: broker.conf, changes at run time, and the tables of config/*.json, which also
// come from a master.

import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "../../../src/base/bytes.ts";
import { PeerNetworks } from "../../../src/base/peer_networks.ts";
import { ConfigError, ProtocolError, RemotingError, StoreError } from "../../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { ConfigManager } from "../../../src/broker/config_manager.ts";
import { ConsumerOffsetManager, MessageRequestModeManager } from "../../../src/broker/consumer_offset_manager.ts";
import { DelayOffsetManager } from "../../../src/broker/schedule/delay_offset_manager.ts";
import type { BrokerHAPort, BrokerRuntimeInfoSource } from "../../../src/broker/processors/ports.ts";
import { createProcessorTable } from "../../../src/broker/processors/processor_table.ts";
import type { RequestContext } from "../../../src/remoting/remoting_server.ts";
import { SubscriptionGroupManager } from "../../../src/broker/subscription_group_manager.ts";
import { TimerMetrics } from "../../../src/broker/timer/timer_metrics.ts";
import { TopicConfigManager } from "../../../src/broker/topic_config_manager.ts";
import { checkTopicName } from "../../../src/broker/topic_validator.ts";
import { createConfig, loadConfig, parseConfigPatch } from "../../../src/config/load.ts";
import { parseProperties } from "../../../src/config/properties.ts";
import { CONFIG_KEYS } from "../../../src/config/schema.ts";
import { isJavaJsonObject, parseJavaJson } from "../../../src/remoting/java_json.ts";
import { createRequest } from "../../../src/remoting/remoting_command.ts";
import { RequestCode } from "../../../src/remoting/request_code.ts";
import { ManualClock } from "../../remoting/support.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { MemoryFileSystem } from "../memory_fs.ts";
import { assertPlain, outcome, outcomeOf } from "../properties.ts";
import { javaJsonText } from "./java_json.ts";

const HOST = { hostname: "box", localAddress: "10.0.0.1", env: () => undefined };

const keys = fc.oneof(
  fc.constantFrom(
    ...CONFIG_KEYS,
    "brokerIP1",
    "listenPort",
    "haListenPort",
    "enableControllerMode",
    "useEpollNativeSelector",
  ),
  fc.constantFrom("__proto__", "constructor", "toString", "", "ha-listen-port", "\u001b[2J"),
);
const values = fc.constantFrom(
  "0",
  "1",
  "-1",
  "10912",
  "true",
  "SLAVE",
  "127.0.0.1:10912",
  "",
  "none",
  "../x",
  "9007199254740993",
  "a b",
  "é",
);
const confText = fc.array(
  fc.tuple(
    keys,
    fc.constantFrom("=", ":", " ", " = ", "\\\n  ", "="),
    values,
    fc.constantFrom("\n", "\r\n", "\r", "\n# x\n", "\\\n"),
  ),
  { maxLength: 8 },
).map((lines) => utf8.encode(lines.map((parts) => parts.join("")).join("")));

/** Java's properties format. */
export const PROPERTIES_FILE: FuzzTarget = {
  name: "properties_file",
  runs: 2500,
  inputs: confText,
  check(input) {
    const { value: entries, error } = outcome(() => parseProperties(input), ConfigError);
    if (error !== null) return;
    const lines = Buffer.from(input).toString("latin1").split(/\r\n|\r|\n/).length;
    assert.ok(entries.length <= lines);
    for (const { line } of entries) assert.ok(line >= 1 && line <= lines);
    // Written in the plainest way, it reads back.
    const text = entries.map(({ key, value }) => `${escaped(key)}=${escaped(value)}\n`).join("");
    const again = parseProperties(new Uint8Array(Buffer.from(text, "latin1")));
    assert.deepEqual(again.map(({ key, value }) => [key, value]), entries.map(({ key, value }) => [key, value]));
  },
};

function escaped(text: string): string {
  return text.split("").map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
}

/** A whole broker.conf. */
export const BROKER_CONF: FuzzTarget = {
  name: "broker_conf",
  runs: 500,
  inputs: confText,
  check(input) {
    const file = { name: "broker.conf", bytes: input };
    const { value, error } = outcome(() => loadConfig({ host: HOST, file }), ConfigError);
    if (error !== null) return;
    for (const warning of value.warnings) assertPlain(warning);
    assert.deepEqual(Object.keys(value.config).sort(), [...CONFIG_KEYS].sort());
  },
};

/** `PATCH /config`: any JSON object. */
export const CONFIG_PATCH: FuzzTarget = {
  name: "config_patch",
  runs: 2000,
  inputs: fc.array(
    fc.tuple(keys, fc.oneof(values, fc.integer(), fc.boolean(), fc.constantFrom(null, [], {}, 1e300, -0))),
    { maxLength: 4 },
  )
    .map((members) =>
      utf8.encode(`{${members.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`).join()}}`)
    ),
  check(input) {
    let patch: unknown;
    try {
      patch = JSON.parse(utf8.decode(input));
    } catch {
      return;
    }
    if (typeof patch !== "object" || patch === null) return;
    const { config } = createConfig({}, HOST);
    const before = JSON.stringify(config);
    const { value } = outcome(() => parseConfigPatch(config, patch as Record<string, unknown>), ConfigError);
    assert.equal(JSON.stringify(config), before, "A check changed the configuration");
    for (const key of Object.keys(value ?? {})) assert.ok(Object.hasOwn(config, key), `Would set ${key}`);
  },
};

const DIRECTORY = "/store/config";

function managersOn(fs: MemoryFileSystem) {
  const options = { fs, clock: new ManualClock(), logger: SILENT_LOGGER, directory: DIRECTORY };
  return {
    topicConfigManager: new TopicConfigManager(options),
    consumerOffsetManager: new ConsumerOffsetManager(options),
    delayOffsetManager: new DelayOffsetManager(options),
    subscriptionGroupManager: new SubscriptionGroupManager(options),
    messageRequestModeManager: new MessageRequestModeManager(options),
  };
}

function timerMetricsOn(fs: MemoryFileSystem): TimerMetrics {
  const metrics = new TimerMetrics({ fs, clock: new ManualClock(), logger: SILENT_LOGGER, directory: DIRECTORY });
  loadOrWithout(fs, metrics);
  return metrics;
}

/** Loads; where nothing of what is there can be read, as an operator would who does without it. */
function loadOrWithout(fs: MemoryFileSystem, manager: ConfigManager): void {
  if (outcome(() => manager.load(), StoreError).error === null) return;
  for (const path of [manager.path, `${manager.path}.bak`]) fs.remove(path);
  assert.equal(manager.load(), "empty");
}

const tables = fc.oneof(
  fc.tuple(
    fc.constantFrom(
      "topicConfigTable",
      "offsetTable",
      "subscriptionGroupTable",
      "messageRequestModeMap",
      "dataVersion",
    ),
    javaJsonText,
  ).map(([table, text]) => `{"dataVersion":{"counter":3,"timestamp":5},${JSON.stringify(table)}:${text}}`),
  fc.tuple(fc.constantFrom("T", "__proto__", "../T", "a\\u0000b"), javaJsonText).map(([topic, text]) =>
    `{"topicConfigTable":{"${topic}":{"readQueueNums":${text},"writeQueueNums":8,"perm":6,"order":true}}}`
  ),
  javaJsonText,
);

/** One document as every file of config/, as its `.bak`, and as a master's answer. */
export const CONFIG_FILES: FuzzTarget = {
  name: "config_files",
  runs: 300,
  inputs: tables.map(utf8.encode),
  async check(input) {
    const fs = new MemoryFileSystem("/store");
    for (const manager of Object.values(managersOn(fs))) {
      fs.put(manager.path, input);
      fs.put(`${manager.path}.bak`, input.slice(1));
    }
    fs.put(`${DIRECTORY}/timermetrics`, input);
    fs.put(`${DIRECTORY}/timercheck`, input);
    const managers = managersOn(fs);
    for (const manager of Object.values<ConfigManager>(managers)) loadOrWithout(fs, manager);
    await assertServes(fs, managers);
    await assertPersists(fs, managers);
    // The same, come from a master; SlaveSynchronize has looked for the table only.
    const { value: body } = outcome(() => parseJavaJson(utf8.decode(input)), ProtocolError);
    if (!isJavaJsonObject(body ?? undefined)) return;
    const copies = managersOn(new MemoryFileSystem("/store"));
    for (const manager of Object.values(copies)) {
      const table = TABLES[manager.constructor.name]!;
      if (isJavaJsonObject(body as never) && table in (body as object)) manager.adopt(body as never);
    }
    await assertServes(fs, copies);
    await Promise.all(Object.values(copies).map((manager) => manager.persist()));
  },
};

const TABLES: Readonly<Record<string, string>> = {
  TopicConfigManager: "topicConfigTable",
  ConsumerOffsetManager: "offsetTable",
  DelayOffsetManager: "offsetTable",
  SubscriptionGroupManager: "subscriptionGroupTable",
  MessageRequestModeManager: "messageRequestModeMap",
};

type Managers = ReturnType<typeof managersOn>;

/** Whatever the tables hold: questions about them are answered, with bodies that can be read. */
async function assertServes(fs: MemoryFileSystem, managers: Managers): Promise<void> {
  const processors = createProcessorTable(new Map(), {
    runtimeInfo: {} as BrokerRuntimeInfoSource,
    ha: {} as BrokerHAPort,
    managers,
    timer: { checkpointForSlaves: () => new Uint8Array(56) },
    timerMetrics: timerMetricsOn(fs),
  });
  for (const code of SYNC_CODES) {
    const asking = Promise.resolve().then(() => processors.get(code)!(createRequest(code), {} as RequestContext));
    const { value: answer } = await outcomeOf(asking.catch(withAdvice), RemotingError);
    if (answer === null || code === RequestCode.GET_TIMER_CHECK_POINT) continue;
    parseJavaJson(utf8.decode(answer.body));
  }
  const { topicConfigManager } = managers;
  for (const name of topicConfigManager.topicNames()) {
    const topic = topicConfigManager.selectTopicConfig(name);
    if (topic === null) continue;
    for (const number of [topic.readQueueNums, topic.writeQueueNums, topic.perm, topic.topicSysFlag]) {
      assert.ok(Number.isInteger(number) && number >= 0 && number < 2 ** 31, `Topic "${name}" has ${number}`);
    }
    assert.ok(
      topic.readQueueNums <= 65_536 && topic.writeQueueNums <= 65_536,
      `Topic has ${topic.readQueueNums} queues`,
    );
  }
  const { stateVersion, timestamp, counter } = topicConfigManager.dataVersion;
  assert.ok([stateVersion, timestamp, counter].every(Number.isSafeInteger), "A data version is no whole number");
}

/** What a broker does not have it says in few words. */
function withAdvice(error: unknown): never {
  if (error instanceof RemotingError) throw new RemotingError(error.code, `${error.message}, wanted`);
  throw error;
}

const SYNC_CODES = [
  RequestCode.GET_ALL_TOPIC_CONFIG,
  RequestCode.GET_ALL_CONSUMER_OFFSET,
  RequestCode.GET_ALL_DELAY_OFFSET,
  RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG,
  RequestCode.GET_ALL_MESSAGE_REQUEST_MODE,
  RequestCode.GET_TIMER_CHECK_POINT,
  RequestCode.GET_TIMER_METRICS,
];

async function assertPersists(fs: MemoryFileSystem, managers: Managers): Promise<void> {
  const { topicConfigManager } = managers;
  for (const topic of ["NewTopic", "../NewTopic", "__proto__", ""]) {
    const { error } = outcome(() => checkTopicName(topic), RemotingError);
    const made = await outcomeOf(topicConfigManager.ensureTopic(topic), RemotingError);
    if (error === null) assert.equal(made.error, null);
  }
  for (const manager of Object.values<ConfigManager>(managers)) await manager.persist();
  const again = managersOn(fs);
  for (const manager of Object.values(again)) manager.load();
  assert.deepEqual(again.topicConfigManager.topicNames().sort(), topicConfigManager.topicNames().sort());
  assert.ok(again.topicConfigManager.selectTopicConfig("NewTopic") !== null);
}

/** A list of peer networks. */
export const PEER_NETWORKS: FuzzTarget = {
  name: "peer_networks",
  runs: 3000,
  inputs: fc.array(
    fc.constantFrom(
      "10.0.0.0/8",
      "192.168.1.7",
      "fd00::/8",
      "::1",
      "[fe80::1%eth0]/64",
      "::ffff:10.0.0.1",
      "0.0.0.0/0",
      "1.2.3.4/32",
    ),
    { maxLength: 4 },
  ).map((parts) => utf8.encode(parts.join(", "))),
  check(input) {
    const text = utf8.decode(input);
    const networks = PeerNetworks.parse(text);
    if (networks === null) return;
    for (const part of text.split(/[\s,;]+/).filter((each) => each !== "")) {
      const [host = ""] = part.replaceAll(/[[\]]/g, "").split("/");
      // An address is in its own network, except an IPv4 one in IPv6 clothes, which counts as IPv4.
      if (!/^::ffff:/i.test(host) && host !== "") assert.ok(networks.has(host), `${host} is not in ${part}`);
    }
    // Nothing but an address is ever in one.
    for (const odd of ["", "localhost", "1.2.3", "1.2.3.4.5", "::g", ":::", "10.0.0.1/8"]) {
      assert.ok(!networks.has(odd), odd);
    }
  },
};
