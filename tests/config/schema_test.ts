// The table against Apache's own defaults, the document against the table.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { ALIASES, REFUSED, REPLACED, WITHOUT_EFFECT } from "../../src/config/apache_keys.ts";
import { flagName } from "../../src/config/load.ts";
import { nearest } from "../../src/config/nearest.ts";
import { renderConfigurationDocs } from "../../src/config/render_docs.ts";
import { CONFIG_KEYS, settingOf } from "../../src/config/schema.ts";
import { formatHostPort } from "../../src/base/host_port.ts";
import { Derived, parseHostPort } from "../../src/config/setting.ts";

/** Defaults of Apache 5.3.3's BrokerConfig, MessageStoreConfig and NettyServerConfig; null: unset or worked out there. */
const APACHE: Record<string, string | number | boolean | null> = {
  autoCreateSubscriptionGroup: true,
  clusterTopicEnable: true,
  brokerTopicEnable: true,
  traceTopicEnable: false,
  msgTraceTopicName: "RMQ_SYS_TRACE_TOPIC",
  traceOn: true,
  regionId: "DefaultRegion",
  startAcceptSendRequestTimeStamp: 0,
  rejectTransactionMessage: false,
  transactionTimeOut: 6000,
  transactionCheckMax: 15,
  transactionCheckInterval: 30000,
  transactionOpMsgMaxSize: 4096,
  transactionOpBatchInterval: 3000,
  longPollingEnable: true,
  shortPollingTimeMills: 1000,
  litePullMessageEnable: true,
  rejectPullConsumerEnable: false,
  slaveReadEnable: false,
  offsetCheckInSlave: false,
  accessMessageInMemoryMaxRatio: 40,
  maxTransferBytesOnMessageInMemory: 262144,
  maxTransferCountOnMessageInMemory: 32,
  maxTransferBytesOnMessageInDisk: 65536,
  maxTransferCountOnMessageInDisk: 8,
  maxFilterMessageSize: 16000,
  enablePropertyFilter: false,
  filterSupportRetry: false,
  expectConsumerNumUseFilter: 32,
  maxErrorRateOfBloomFilter: 20,
  filterDataCleanTimeSpan: 86400000,
  flushConsumerOffsetInterval: 5000,
  flushDelayOffsetInterval: 10000,
  consumerOffsetUpdateVersionStep: 500,
  delayOffsetUpdateVersionStep: 200,
  notifyConsumerIdsChangedEnable: true,
  channelExpiredTimeout: 120000,
  subscriptionExpiredTimeout: 600000,
  useServerSideResetOffset: true,
  enableBroadcastOffsetStore: true,
  broadcastOffsetExpireSecond: 120,
  broadcastOffsetExpireMaxSecond: 300,
  disableConsumeIfConsumerReadSlowly: false,
  consumerFallbehindThreshold: 17179869184,
  storeReplyMessageEnable: true,
  timerWheelEnable: true,
  timerPrecisionMs: 1000,
  timerMaxDelaySec: 259200,
  timerRollWindowSlot: 172800,
  timerCongestNumEachSlot: 2147483647,
  timerFlushIntervalMs: 1000,
  mappedFileSizeTimerLog: 104857600,
  recallMessageEnable: false,
  enableMixedMessageType: false,
  clearRetryTopicWhenDeleteTopic: true,
  validateSystemTopicWhenUpdateTopic: true,
  forceRegister: true,
  compressedRegister: false,
  configBlackList: "configBlackList;brokerConfigPath",
  reviveQueueNum: 8,
  orderMessageEnable: false,
  returnOrderTopicConfigToBroker: true,
  supportActingMaster: false,
  notifyMinBrokerIdChanged: false,
  enableTopicList: true,
  enableAllTopicList: true,
  needWaitForService: false,
  waitSecondsForService: 45,
  deleteTopicWithBrokerRegistration: false,
  scanNotActiveBrokerInterval: 5000,
  autoCreateTopicEnable: true,
  bindAddress: "0.0.0.0",
  brokerClusterName: "DefaultCluster",
  brokerIP1: null,
  brokerIP2: null,
  brokerName: null,
  brokerPermission: 6,
  brokerRole: "ASYNC_MASTER",
  checkCRCOnRecover: true,
  cleanFileForciblyEnable: true,
  cleanResourceInterval: 10000,
  defaultQueryMaxNum: 32,
  defaultTopicQueueNums: 8,
  deleteCommitLogFilesInterval: 100,
  deleteFileBatchMax: 10,
  deleteWhen: "04",
  diskMaxUsedSpaceRatio: 75,
  diskSpaceCleanForciblyRatio: 85,
  diskSpaceWarningLevelRatio: 90,
  enableAutoInSyncReplicas: false,
  enabledAppendPropCRC: false,
  fileReservedTime: 72,
  flushCommitLogLeastPages: 4,
  flushCommitLogThoroughInterval: 10000,
  flushConsumeQueueLeastPages: 2,
  flushConsumeQueueThoroughInterval: 60000,
  flushDiskType: "ASYNC_FLUSH",
  flushIntervalCommitLog: 500,
  flushIntervalConsumeQueue: 1000,
  forceVerifyPropCRC: false,
  haFlowControlEnable: false,
  haHousekeepingInterval: 20000,
  haListenPort: null,
  haMaxGapNotInSync: 268435456,
  haSendHeartbeatInterval: 5000,
  mappedFileSizeCommitLog: 1073741824,
  mappedFileSizeConsumeQueue: 6000000,
  maxHaTransferByteInSecond: 104857600,
  maxHashSlotNum: 5000000,
  maxIndexNum: 20000000,
  maxMessageSize: 4194304,
  maxMsgsNumBatch: 64,
  messageDelayLevel: "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
  messageIndexEnable: true,
  messageIndexSafe: false,
  minInSyncReplicas: 1,
  namesrvAddr: null,
  registerBrokerTimeoutMills: 24000,
  registerNameServerPeriod: 30000,
  serverChannelMaxIdleTimeSeconds: 120,
  slaveTimeout: 3000,
  storePathCommitLog: null,
  syncFlushTimeout: 5000,
  syncFromLastFile: false,
};

describe("the settings table", () => {
  it("has Apache's default wherever a row is not marked as ours", () => {
    const ours = CONFIG_KEYS.filter((key) => settingOf(key).ours === undefined);
    assert.deepEqual(ours.toSorted(), Object.keys(APACHE).sort());
    for (const key of ours) {
      const { fallback } = settingOf(key);
      assert.equal(fallback instanceof Derived ? null : fallback, APACHE[key], key);
    }
  });

  it("accepts its own defaults", () => {
    for (const key of CONFIG_KEYS) {
      const setting = settingOf(key);
      if (setting.fallback instanceof Derived) continue;
      assert.deepEqual(setting.parse(String(setting.fallback ?? "")), setting.fallback, key);
    }
  });

  it("gives each key one flag, each alias one key", () => {
    const flags = CONFIG_KEYS.flatMap((key) => {
      const { alias } = settingOf(key);
      return [...new Set([flagName(key), ...(alias ? [`--${alias}`] : [])])];
    });
    assert.equal(new Set(flags).size, flags.length);
  });

  it("keeps the lists of other Apache keys apart", () => {
    const others = [...Object.keys(ALIASES), ...Object.keys(REFUSED), ...Object.keys(REPLACED), ...WITHOUT_EFFECT];
    assert.equal(new Set([...others, ...CONFIG_KEYS]).size, others.length + CONFIG_KEYS.length);
  });

  it("is what docs/configuration.md says", () => {
    const document = readFileSync(new URL("../../docs/configuration.md", import.meta.url), "utf8");
    assert.equal(document, renderConfigurationDocs());
  });
});

describe("nearest", () => {
  it("finds what was meant, and nothing for something else", () => {
    assert.equal(nearest("brokrName", CONFIG_KEYS), "brokerName");
    assert.equal(nearest("HALISTENPORT", CONFIG_KEYS), "haListenPort");
    assert.equal(nearest("x", CONFIG_KEYS), null);
    assert.equal(nearest("namesrv-port", ["namesrv-addr", "namesrv-listen-port", "port"]), "namesrv-listen-port");
    assert.equal(nearest("haPort", CONFIG_KEYS), "haListenPort");
    assert.equal(nearest("somethingElseAltogether", CONFIG_KEYS), null);
  });
});

describe("parseHostPort", () => {
  it("takes names, IPv4 and bracketed IPv6 apart", () => {
    assert.deepEqual(parseHostPort("a.b:1"), { hostname: "a.b", port: 1 });
    assert.deepEqual(parseHostPort("[::1]:65535"), { hostname: "::1", port: 65535 });
    assert.equal(formatHostPort({ hostname: "::1", port: 5 }), "[::1]:5");
    for (
      const bad of ["", "a", ":1", "a:", "a:0", "a:65536", "::1:5", "a b:1", "a:1:2", "http://a:1", "a/b:1", "a@b:1"]
    ) {
      assert.equal(parseHostPort(bad), null, bad);
    }
    assert.deepEqual(parseHostPort("a:0", 0), { hostname: "a", port: 0 });
  });
});
