// The rows of the settings table that serving clients obeys: topics, groups, sends, pulls, filters, transactions, timers
// and the NameServer. schema.ts puts them into the one table.

import { boolean, choice, derived, INT_MAX, integer, optionalText, text } from "./setting.ts";

const LONG_MAX = Number.MAX_SAFE_INTEGER;
const NEW = "not an Apache key";

/** What producers, consumers and mqadmin meet. Keys and defaults of Apache's `BrokerConfig` and `MessageStoreConfig`. */
export const CLIENTS = {
  autoCreateSubscriptionGroup: boolean(true, "A consumer of an unknown group makes it", { live: true }),
  clusterTopicEnable: boolean(true, "Topics may be made from the topic named as the cluster"),
  brokerTopicEnable: boolean(true, "Topics may be made from the topic named as the broker"),
  traceTopicEnable: boolean(false, "Have the topic for message traces from the start"),
  msgTraceTopicName: text("RMQ_SYS_TRACE_TOPIC", "Its name"),
  traceOn: boolean(true, "Clients may trace messages", { live: true }),
  regionId: text("DefaultRegion", "Region told to clients, kept in each message", { live: true }),
  startAcceptSendRequestTimeStamp: integer(0, 0, LONG_MAX, "Sends before this time, Unix ms, are refused", {
    live: true,
  }),
  rejectTransactionMessage: boolean(false, "Refuse transactional messages", { live: true }),
  transactionTimeOut: integer(6000, 0, INT_MAX, "Age at which an open transaction is asked about", {
    unit: "ms",
    live: true,
  }),
  transactionCheckMax: integer(15, 1, INT_MAX, "Times it is asked about before it is set aside", { live: true }),
  transactionCheckInterval: integer(30000, 100, INT_MAX, "Time between two looks for such transactions", {
    unit: "ms",
    live: true,
  }),
  transactionOpMsgMaxSize: integer(4096, 64, 4194304, "Largest record of ended transactions", {
    unit: "bytes",
    live: true,
  }),
  transactionOpBatchInterval: integer(3000, 1, INT_MAX, "Ended transactions are written at least this often", {
    unit: "ms",
    live: true,
  }),
  longPollingEnable: boolean(true, "Hold pulls of empty queues until messages come", { live: true }),
  shortPollingTimeMills: integer(1000, 1, INT_MAX, "Time a pull is held with longPollingEnable=false", {
    unit: "ms",
    live: true,
  }),
  litePullMessageEnable: boolean(true, "Serve lite pull consumers", { live: true }),
  rejectPullConsumerEnable: boolean(false, "Do not register consumers that pull actively", { live: true }),
  slaveReadEnable: boolean(false, "Slaves serve pulls while the master lives; set it on both", { live: true }),
  offsetCheckInSlave: boolean(false, "A slave corrects offsets outside its queues", { live: true }),
  accessMessageInMemoryMaxRatio: integer(
    40,
    1,
    100,
    "Part of the machine's memory whose messages count as in memory (a slave: 10 less)",
    { unit: "%", live: true },
  ),
  maxTransferBytesOnMessageInMemory: integer(262144, 1, INT_MAX, "Most bytes of a pull of messages in memory", {
    unit: "bytes",
    live: true,
  }),
  maxTransferCountOnMessageInMemory: integer(32, 1, INT_MAX, "Most messages of such a pull", { live: true }),
  maxTransferBytesOnMessageInDisk: integer(65536, 1, INT_MAX, "Most bytes of a pull of older messages", {
    unit: "bytes",
    live: true,
  }),
  maxTransferCountOnMessageInDisk: integer(8, 1, INT_MAX, "Most messages of such a pull", { live: true }),
  maxFilterMessageSize: integer(16000, 20, INT_MAX, "Queue entries looked at by one pull, at least", {
    unit: "bytes",
    live: true,
  }),
  enablePropertyFilter: boolean(false, "Serve consumers that filter by SQL92", { live: true }),
  filterSupportRetry: boolean(false, "SQL92 filters act on retried messages too", { live: true }),
  expectConsumerNumUseFilter: integer(32, 1, 1000000, "Groups a filter bit map is made for"),
  maxErrorRateOfBloomFilter: integer(20, 1, 99, "Error rate of such a bit map", { unit: "%" }),
  filterDataCleanTimeSpan: integer(86400000, 1, LONG_MAX, "Filters of a group that is gone are kept so long", {
    unit: "ms",
    live: true,
  }),
  flushConsumerOffsetInterval: integer(5000, 1, INT_MAX, "Time between two writes of consumer offsets", {
    unit: "ms",
    live: true,
  }),
  flushDelayOffsetInterval: integer(10000, 1, INT_MAX, "Time between two writes of the delay levels' progress", {
    unit: "ms",
    live: true,
  }),
  consumerOffsetUpdateVersionStep: integer(500, 1, INT_MAX, "Commits that move the offsets' data version", {
    live: true,
  }),
  delayOffsetUpdateVersionStep: integer(200, 1, INT_MAX, "Deliveries that move the delay offsets' data version", {
    live: true,
  }),
  notifyConsumerIdsChangedEnable: boolean(true, "Tell the members of a group when it changes", { live: true }),
  channelExpiredTimeout: integer(120000, 1, INT_MAX, "A client without heartbeat for so long is gone", {
    unit: "ms",
    live: true,
  }),
  subscriptionExpiredTimeout: integer(600000, 1, INT_MAX, "What pulls without heartbeat tell is kept so long", {
    unit: "ms",
    live: true,
  }),
  useServerSideResetOffset: boolean(true, "Reset offsets here, not by telling the consumers", { live: true }),
  enableBroadcastOffsetStore: boolean(true, "Note how far broadcast consumers are", { live: true }),
  broadcastOffsetExpireSecond: integer(120, 1, INT_MAX, "Such a note goes when its client is away so long", {
    unit: "s",
    live: true,
  }),
  broadcastOffsetExpireMaxSecond: integer(300, 1, INT_MAX, "It goes after this in any case", { unit: "s", live: true }),
  disableConsumeIfConsumerReadSlowly: boolean(false, "Groups far behind may not consume any more", { live: true }),
  consumerFallbehindThreshold: integer(17179869184, 1, LONG_MAX, "Distance at which that is", {
    unit: "bytes",
    live: true,
  }),
  storeReplyMessageEnable: boolean(true, "Store replies of request and reply", { live: true }),
  timerWheelEnable: boolean(true, "Take messages with an arbitrary delivery time"),
  timerPrecisionMs: integer(1000, 100, 60000, "Their times are rounded down to this", { unit: "ms" }),
  timerMaxDelaySec: integer(259200, 1, INT_MAX, "Farthest delivery time", { unit: "s", live: true }),
  timerRollWindowSlot: integer(
    172800,
    2,
    604740,
    "A message further ahead, in units of timerPrecisionMs, waits in several steps",
  ),
  timerCongestNumEachSlot: integer(INT_MAX, 1, INT_MAX, "With more messages in one unit of time, some are refused", {
    live: true,
  }),
  timerFlushIntervalMs: integer(1000, 1, INT_MAX, "Time between two writes of the timer's progress", {
    unit: "ms",
    live: true,
  }),
  mappedFileSizeTimerLog: integer(104857600, 4096, 1073741824, "Size of each file of the timer's log", {
    unit: "bytes",
  }),
  recallMessageEnable: boolean(false, "Such messages may be called back before", { live: true }),
  enableMixedMessageType: boolean(false, "Topics may hold messages of any type", { live: true }),
  clearRetryTopicWhenDeleteTopic: boolean(true, "Deleting a topic deletes its pop retry topics", { live: true }),
  validateSystemTopicWhenUpdateTopic: boolean(true, "System topics can't be changed by mqadmin", { live: true }),
  forceRegister: boolean(true, "Register at each period, not only after changes", { live: true }),
  compressedRegister: boolean(false, "Register with compressed bodies", { live: true }),
  configBlackList: text(
    "configBlackList;brokerConfigPath",
    "Keys that UPDATE_BROKER_CONFIG may not change, separated by ;",
  ),
  reviveQueueNum: integer(8, 1, 1024, "Queues of the topic that pop consumption acknowledges through"),
};

/** TLS of the remoting ports and of connections to others'. Apache reads these from a file of its own. */
export const REMOTING_TLS = {
  tlsServerMode: choice(
    ["disabled", "permissive", "enforcing"],
    "permissive",
    "TLS on the remoting ports: refused, taken where a client begins it, or demanded",
    { ours: "Apache's is tls.server.mode, a system property" },
  ),
  tlsServerCertPath: optionalText("PEM file of the remoting ports' certificate; unset: TLS is refused", {
    ours: "Apache's is tls.server.certPath; without one it makes a certificate up",
  }),
  tlsServerKeyPath: optionalText("PEM file of its key", { ours: "Apache's is tls.server.keyPath" }),
  tlsServerTrustCertPath: optionalText("PEM file of the CA that clients' certificates have to come from", {
    ours: "Apache's is tls.server.trustCertPath",
  }),
  tlsServerNeedClientAuth: choice(["none", "optional", "require"], "none", "Whether clients need a certificate", {
    ours: "Apache's is tls.server.need.client.auth",
  }),
  tlsEnable: boolean(derived("true with tlsServerMode enforcing"), "Speak TLS to NameServers and other brokers", {
    ours: "Apache's is tls.enable, a system property",
  }),
  tlsClientTrustCertPath: optionalText(
    "PEM file of the CA that their certificates have to come from; unset: any will do",
    {
      ours: "Apache's is tls.client.trustCertPath",
    },
  ),
  tlsClientCertPath: optionalText("PEM file of the certificate to show them", {
    ours: "Apache's is tls.client.certPath",
  }),
  tlsClientKeyPath: optionalText("PEM file of its key", { ours: "Apache's is tls.client.keyPath" }),
};

/** The NameServer, alone by `--role namesrv` or inside a master. Keys and defaults of Apache's `NamesrvConfig`. */
export const NAMESRV = {
  namesrvEnable: boolean(derived("true for a master without namesrvAddr"), "Run a NameServer inside this broker", {
    ours: NEW,
  }),
  namesrvListenPort: integer(derived("9876; any free port when listenPort is 0"), 0, 65535, "Its port", {
    ours: "Apache's is listenPort in namesrv.conf",
  }),
  kvConfigPath: text(derived("<storePathRootDir>/namesrv/kvConfig.json"), "File of the NameServer's KV configuration", {
    ours: "Apache has ~/namesrv/kvConfig.json",
  }),
  configStorePath: text(
    derived("<storePathRootDir>/namesrv/namesrv.properties"),
    "File that a change of the NameServer's configuration is written to",
    { ours: "Apache has ~/namesrv/namesrv.properties" },
  ),
  orderMessageEnable: boolean(false, "Tell clients the queues of ordered topics", { live: true }),
  returnOrderTopicConfigToBroker: boolean(true, "Tell brokers which topics are ordered", { live: true }),
  supportActingMaster: boolean(false, "Show a slave as the master of a group that lost it, where brokers allow it", {
    live: true,
  }),
  notifyMinBrokerIdChanged: boolean(false, "Tell the brokers of a group when its smallest id changes", { live: true }),
  enableTopicList: boolean(true, "Answer with the topics of a cluster", { live: true }),
  enableAllTopicList: boolean(true, "Answer with all topics", { live: true }),
  needWaitForService: boolean(false, "Answer no route in the first seconds"),
  waitSecondsForService: integer(45, 0, INT_MAX, "Those seconds", { unit: "s" }),
  deleteTopicWithBrokerRegistration: boolean(false, "A topic missing in a broker's registration is gone there", {
    live: true,
  }),
  scanNotActiveBrokerInterval: integer(5000, 100, INT_MAX, "Time between two looks for brokers that fell silent", {
    unit: "ms",
    live: true,
  }),
};
