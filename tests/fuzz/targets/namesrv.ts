// What anybody may send to a NameServer: registration bodies in all their forms, whole requests of every code, and the
// file its KV configuration comes from.

import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import fc from "fast-check";
import { concatBytes, utf8 } from "../../../src/base/bytes.ts";
import { ConfigError, ProtocolError, RemotingError } from "../../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { loadNamesrvConfig, NAMESRV_SETTINGS } from "../../../src/config/namesrv_config.ts";
import { namesrvConfiguration } from "../../../src/config/namesrv_configuration.ts";
import { brokerProcessors } from "../../../src/namesrv/broker_processors.ts";
import { KVConfigManager } from "../../../src/namesrv/kv_config_manager.ts";
import { namesrvProcessors } from "../../../src/namesrv/namesrv_processors.ts";
import {
  decodeDataVersion,
  decodeQueueDatas,
  decodeRegisterBrokerBody,
} from "../../../src/namesrv/register_broker_body.ts";
import { RouteInfoManager } from "../../../src/namesrv/route_info_manager.ts";
import type { RegisterBrokerBody } from "../../../src/namesrv/route_types.ts";
import { FrameDecoder } from "../../../src/remoting/frame_decoder.ts";
import { createRequest, encodeFrame, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { RemotingConnection } from "../../../src/remoting/remoting_connection.ts";
import type { RequestContext } from "../../../src/remoting/remoting_server.ts";
import type { FileSystem } from "../../../src/runtime/runtime.ts";
import { CONFIG, int32, part } from "../../namesrv/support.ts";
import { ManualClock } from "../../remoting/support.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { assertPlain, outcome, steers } from "../properties.ts";
import { javaJsonText } from "./java_json.ts";

const names = fc.constantFrom("T", "broker-a", "%RETRY%g", "__proto__", "constructor", "é", "a b", "\u202e", "");
const version = fc.record({
  counter: fc.nat(9),
  stateVersion: fc.nat(2),
  timestamp: fc.oneof(fc.nat(9), fc.constant(1795243848139)),
});
const topic = fc.record({
  topicName: names,
  perm: fc.nat(7),
  readQueueNums: fc.integer(),
  writeQueueNums: fc.integer(),
  topicSysFlag: fc.nat(3),
}, { requiredKeys: [] });
const mapping = fc.record({
  bname: names,
  currIdMap: fc.dictionary(fc.nat(99).map(String), fc.nat(99)),
  epoch: fc.nat(),
  topic: names,
  totalQueues: fc.nat(9),
}, { requiredKeys: ["bname"] });
const jsonBody = fc.record({
  filterServerList: fc.array(names, { maxLength: 2 }),
  topicConfigSerializeWrapper: fc.record({
    dataVersion: version,
    topicConfigTable: fc.dictionary(names, topic, { maxKeys: 3 }),
    topicQueueMappingInfoMap: fc.dictionary(names, mapping, { maxKeys: 2 }),
  }, { requiredKeys: [] }),
}, { requiredKeys: [] }).map((value) => utf8.encode(JSON.stringify(value)));
const deflatedParts = fc.tuple(version, fc.array(topic, { maxLength: 3 }), fc.array(mapping, { maxLength: 2 })).map(
  ([dataVersion, topics, mappings]) =>
    concatBytes([
      part(JSON.stringify(dataVersion)),
      int32(topics.length),
      ...topics.map((each) => part(`${each.topicName} ${each.readQueueNums} 4 ${each.perm} SINGLE_TAG {}`)),
      part("[]"),
      int32(mappings.length),
      ...mappings.map((each) => part(JSON.stringify(each))),
    ]),
);
const body = fc.oneof(jsonBody, javaJsonText.map(utf8.encode), deflatedParts);

/** First byte: which version sends it, and whether it is deflated here, so that mutations reach what is inside. */
const VERSIONS = [479, 413, 407, 37, 36, 0];

function bodiesOf(input: Uint8Array): { readonly bytes: Uint8Array; readonly version: number }[] {
  const bytes = input.subarray(1);
  const version = VERSIONS[(input[0] ?? 0) % VERSIONS.length]!;
  return [{ bytes, version }, { bytes: new Uint8Array(deflateSync(bytes, { level: 1 })), version }];
}

function assertName(name: string): void {
  assert.ok(name.length >= 1 && name.length <= 1024 && !/[\u0000-\u001f\u007f]/.test(name), JSON.stringify(name));
}

function assertBody({ dataVersion, topics, mappings, filterServerList }: RegisterBrokerBody): void {
  for (const value of Object.values(dataVersion ?? {})) assert.ok(Number.isSafeInteger(value), String(value));
  for (const { topicName, ...numbers } of topics) {
    assertName(topicName);
    for (const value of Object.values(numbers)) assert.ok((value | 0) === value, String(value));
  }
  for (const { bname, topic, scope, currIdMap } of mappings) {
    for (const name of [bname, topic, scope]) assertName(name);
    for (const value of Object.values(currIdMap)) assert.ok((value | 0) === value, String(value));
  }
  for (const each of filterServerList ?? []) assertName(each);
}

/** Bodies of REGISTER_BROKER. */
export const REGISTRATION: FuzzTarget = {
  name: "namesrv_registration",
  runs: 1500,
  inputs: fc.tuple(fc.nat(5), body).map(([version, bytes]) => concatBytes([Uint8Array.of(version), bytes])),
  check(input) {
    for (const { bytes, version } of bodiesOf(input)) {
      for (const compressed of [false, true]) {
        const { value, error } = outcome(() => decodeRegisterBrokerBody(bytes, { compressed, version }), ProtocolError);
        if (error === null) assertBody(value);
      }
      outcome(() => decodeDataVersion(bytes), ProtocolError);
      const { value, error } = outcome(() => decodeQueueDatas(bytes), ProtocolError);
      if (error === null) { for (const { brokerName } of value) assertName(brokerName); }
    }
  },
};

const CODES = [
  ...[100, 101, 102, 103, 103, 103, 104, 105, 106, 205, 206, 216, 217, 219, 224, 304, 311, 312, 313, 318, 319, 322],
  ...[327, 901, 904],
];
const ext = fc.record({
  clusterName: names,
  brokerName: names,
  brokerAddr: fc.constantFrom("10.0.0.1:10911", "h:2", "nowhere", "h:2\n"),
  brokerId: fc.constantFrom("0", "1", "-1", "9007199254740993", "x"),
  haServerAddr: fc.constantFrom("10.0.0.1:10912", ""),
  enableActingMaster: fc.constantFrom("true", "false"),
  heartbeatTimeoutMillis: fc.constantFrom("1", "-9223372036854775808"),
  bodyCrc32: fc.constantFrom("0", "1"),
  topic: names,
  cluster: names,
  namespace: names,
  key: names,
  value: names,
  __ZONE_NAME: names,
  __ZONE_MODE: fc.constantFrom("true", "false"),
}, { requiredKeys: ["clusterName", "brokerName", "brokerAddr", "brokerId"] });
const request = fc.record({
  code: fc.constantFrom(...CODES),
  version: fc.constantFrom(...VERSIONS),
  ext,
  body: fc.oneof(
    body,
    fc.constant(new Uint8Array(0)),
    fc.constantFrom("orderMessageEnable=true", "x").map(utf8.encode),
  ),
}).map(({ code, version, ext, body }) => encodeFrame({ ...createRequest(code, ext, body), version }));

/** Keeps nothing: what KV writes is not looked at here. */
const NO_FILES = {
  readFile: () => null,
  writeFile() {},
  makeDirectory() {},
  rename() {},
  syncDirectory() {},
  open: () => ({ sync: async () => {}, close() {} }),
} as unknown as FileSystem;

function namesrv() {
  const clock = new ManualClock();
  const { config } = loadNamesrvConfig({});
  const live = { ...config, ...CONFIG, supportActingMaster: true, notifyMinBrokerIdChanged: true };
  const routes = new RouteInfoManager<RemotingConnection>({ config: live });
  const kvConfig = new KVConfigManager({ fs: NO_FILES, logger: SILENT_LOGGER, kvConfigPath: "/kv.json" });
  const ports = { config: live, clock, logger: SILENT_LOGGER, routes, kvConfig };
  const configuration = namesrvConfiguration({
    config: live,
    settings: NAMESRV_SETTINGS,
    logger: SILENT_LOGGER,
    save: async () => {},
  });
  const processors = new Map([
    ...brokerProcessors({ ...ports, onRegistered() {} }),
    ...namesrvProcessors({ ...ports, configuration }),
  ]);
  return { routes, processors };
}

/** A connection's bytes: requests one after another, answered by the processors over tables of their own. */
export const REQUESTS: FuzzTarget = {
  name: "namesrv_requests",
  runs: 500,
  inputs: fc.array(request, { minLength: 1, maxLength: 6 }).map(concatBytes),
  async check(input) {
    const { routes, processors } = namesrv();
    const connection = {} as RemotingConnection;
    const context: RequestContext = { connection, remoteAddress: "10.9.9.9:1" };
    for (const command of commandsOf(input)) {
      const processor = processors.get(command.code);
      if (processor === undefined) continue;
      try {
        const answer = (await processor(command, context))!;
        assert.equal(answer.opaque, command.opaque);
        assertAnswer(answer);
      } catch (error) {
        // Anything else would be logged as an error of ours.
        assert.ok(error instanceof RemotingError || error instanceof ConfigError, `${command.code}: ${error}`);
        assertPlain(error.message);
        assert.ok(error.message.length < 1000, `Remark of ${error.message.length} characters`);
      }
    }
    routes.onConnectionClosed(connection);
    assert.deepEqual(Object.values(routes.figures), [0, 0, 0, 0, 0, 0]);
  },
};

function commandsOf(input: Uint8Array): RemotingCommand[] {
  const decoder = new FrameDecoder();
  const commands: RemotingCommand[] = [];
  outcome(() => {
    decoder.push(input);
    for (let next = decoder.next(); next !== null; next = decoder.next()) commands.push(next);
  }, ProtocolError);
  return commands;
}

function assertAnswer({ code, remark, body }: RemotingCommand): void {
  assert.ok([0, 17, 22].includes(code), `code ${code}`);
  if (remark !== null) assertPlain(remark);
  if (body.length > 0 && body[0] === 0x7b) JSON.parse(utf8.decode(body));
}

/** kvConfig.json, as it may have been left: it is read or not, and what was read is what would be written. */
export const KV_FILE: FuzzTarget = {
  name: "namesrv_kv_file",
  runs: 2000,
  inputs: fc.oneof(
    fc.record({ configTable: fc.dictionary(names, fc.dictionary(names, names)) }).map((value) => JSON.stringify(value)),
    javaJsonText.map((text) => `{"configTable":${text}}`),
  ).map(utf8.encode),
  async check(input) {
    const first = await roundTrip(input);
    const second = await roundTrip(first.written);
    assert.deepEqual(second.entries, first.entries);
    assert.deepEqual(second.written, first.written);
  },
};

async function roundTrip(content: Uint8Array) {
  let written: Uint8Array = new Uint8Array(0);
  const lines: string[] = [];
  const logger = { ...SILENT_LOGGER, warn: (_: string, fields?: object) => void lines.push(JSON.stringify(fields)) };
  const fs = {
    ...NO_FILES,
    readFile: (path: string) => path.endsWith(".bak") ? null : content,
    writeFile: (path: string, bytes: Uint8Array) => {
      if (path.endsWith(".tmp")) written = bytes;
    },
  } as FileSystem;
  const kv = new KVConfigManager({ fs, logger, kvConfigPath: "/kv.json" });
  kv.load();
  assert.ok(lines.length <= 1 && !lines.some(steers), lines.join());
  await kv.persist();
  return { entries: [...kv.entries()], written: written.length === 0 ? content : written };
}
