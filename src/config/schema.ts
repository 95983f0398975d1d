// The one table of settings: key, kind, default, bounds, whether it may change at run time, one line of doc. From it come
// the Config type, the command line's flags, broker.conf's keys, PATCH /config, validation and docs/configuration.md.
// It holds no logic: load.ts merges and cross-checks, apache_keys.ts knows the keys that have no row here.

import {
  address,
  boolean,
  choice,
  derived,
  INT_MAX,
  integer,
  networks,
  optionalInteger,
  optionalText,
  text,
} from "./setting.ts";
import type { Setting, SettingValue } from "./setting.ts";
import { CLIENTS, NAMESRV, REMOTING_TLS } from "./client_settings.ts";

const OFFSET_MAX = Number.MAX_SAFE_INTEGER;
const NEW = "not an Apache key";

const NODE = {
  brokerRole: choice(
    ["ASYNC_MASTER", "SYNC_MASTER", "SLAVE"],
    "ASYNC_MASTER",
    "What the node is when it starts; a role switched at run time is saved in the store and wins",
    { alias: "role" },
    { master: "ASYNC_MASTER", "async-master": "ASYNC_MASTER", "sync-master": "SYNC_MASTER", slave: "SLAVE" },
  ),
  forceRole: boolean(false, "The given role wins over the one saved in the store", { ours: NEW, flagOnly: true }),
  brokerClusterName: text("DefaultCluster", "Cluster this node belongs to"),
  brokerName: text(derived("the host's name"), "Name a master and its slaves share", { alias: "name" }),
  brokerId: integer(
    derived("0 for a master, 1 for a slave"),
    0,
    OFFSET_MAX,
    "0 is the master, any other number a slave",
    {
      ours: "a slave's default is 1, Apache refuses to start",
    },
  ),
  namesrvAddr: address(
    derived("the environment's NAMESRV_ADDR, else 127.0.0.1:9876: a master's own NameServer"),
    "NameServers to register with",
    { many: true },
  ),
  brokerIP1: text(derived("bindAddress, else this host's address"), "Address that clients are told"),
  advertise: address(
    derived("brokerIP1:(bound remoting port)"),
    "Remoting address that clients are told, where ports are mapped",
    { ours: NEW },
  ),
  brokerIP2: text(derived("bindAddress, else this host's address"), "Address that slaves are told"),
  bindAddress: text("0.0.0.0", "Address the remoting, VIP and HA ports bind to (Apache's HA port binds every address)"),
  listenPort: integer(derived("10911 for a master, 11911 for a slave"), 0, 65535, "Remoting port; 0 is any free port", {
    ours: "a slave has its own default, so that both run side by side",
  }),
  vipListenPort: integer(
    derived("listenPort - 2"),
    0,
    65535,
    "The fast remoting port; Apache always takes the default",
    {
      ours: NEW,
    },
  ),
  haListenPort: integer(
    derived("listenPort + 1"),
    0,
    65535,
    "HA port; 0 in a file is the default, on a flag any free port",
  ),
  registerNameServerPeriod: integer(30000, 1, INT_MAX, "Time between two registrations, held within 10000 and 60000", {
    unit: "ms",
    live: true,
  }),
  registerBrokerTimeoutMills: integer(24000, 1, INT_MAX, "Time a NameServer has to answer", { unit: "ms", live: true }),
  brokerPermission: integer(6, 0, 7, "What clients may do: 4 reads, 2 writes", { live: true }),
  autoCreateTopicEnable: boolean(true, "A put to an unknown topic makes it", { live: true }),
  defaultTopicQueueNums: integer(
    8,
    1,
    65536,
    "Most queues of a topic made that way: a producer asks for 4 unless told, and so does the verb send",
    { live: true },
  ),
};

const ADMIN = {
  adminAddress: address(
    derived("127.0.0.1:(listenPort + 2)"),
    "Where the admin API and page listen; none leaves them out",
    {
      ours: NEW,
      alias: "admin",
      portMin: 0,
    },
  ),
  adminTokenFile: optionalText("File whose content is the admin API's bearer token (or TWINLOG_ADMIN_TOKEN)", {
    ours: NEW,
  }),
  json: boolean(false, "Log lines, and the line printed once listening, as JSON", { ours: NEW }),
  logLevel: choice(["debug", "info", "warn", "error"], "info", "Least severe log line that is written", {
    ours: NEW,
    live: true,
  }),
};

const HA = {
  haMasterAddress: address(
    derived("127.0.0.1:10912 for a slave without namesrvAddr, else learned from the NameServer"),
    "HA address a slave follows",
    { ours: "a slave's default, Apache has none", alias: "master" },
  ),
  haSendHeartbeatInterval: integer(5000, 1, INT_MAX, "Each side writes something at least this often", {
    unit: "ms",
    live: true,
  }),
  haHousekeepingInterval: integer(20000, 1, INT_MAX, "A connection that brings nothing for so long is closed", {
    unit: "ms",
    live: true,
  }),
  haTransferBatchSize: optionalInteger(
    1,
    4 * 1024 * 1024 - 12,
    "Largest body of a transfer; unset adapts it up to 1 MiB",
    {
      unit: "bytes",
      live: true,
      ours: "unset by default, Apache has 32768",
    },
  ),
  haMaxGapNotInSync: integer(268435456, 1, OFFSET_MAX, "A slave further behind than this is not in sync", {
    unit: "bytes",
    live: true,
  }),
  slaveTimeout: integer(3000, 1, INT_MAX, "Time a SYNC_MASTER's put waits for its slaves", { unit: "ms", live: true }),
  inSyncReplicas: integer(2, 1, 1000, "Copies a SYNC_MASTER's put waits for, its own included", {
    live: true,
    ours: "Apache's 1 makes a SYNC_MASTER asynchronous",
  }),
  minInSyncReplicas: integer(1, 1, 1000, "With fewer copies in sync a SYNC_MASTER writes nothing", { live: true }),
  enableAutoInSyncReplicas: boolean(
    false,
    "Wait for fewer copies while fewer are in sync, never below minInSyncReplicas",
    {
      live: true,
    },
  ),
  haFlowControlEnable: boolean(false, "Limit what one connection transfers", { live: true }),
  maxHaTransferByteInSecond: integer(
    104857600,
    1,
    OFFSET_MAX,
    "That limit, whole frames counted (Apache: headers only)",
    {
      unit: "bytes/s",
      live: true,
    },
  ),
  syncFromLastFile: boolean(false, "Answer a new slave from the last file only, as Apache does; else from the first"),
  haStartOffset: optionalInteger(0, OFFSET_MAX, "Where an empty slave starts; a multiple of the master's file size", {
    unit: "bytes",
    ours: NEW,
  }),
  haAckAfterFlush: boolean(false, "A slave acknowledges what is on its disk, not what it has written", { ours: NEW }),
  haBusyPollMicros: integer(
    0,
    0,
    1000,
    "How long a slave waits awake for a master's next frame, while frames come closer together than that; 0: never. " +
      "Takes up to a core; no effect on Deno",
    { unit: "us", live: true, ours: NEW },
  ),
  haTransferAfterFlush: boolean(false, "A master sends only what is on its disk", { ours: NEW }),
  haCountSlavesBy: choice(
    ["address", "connection"],
    "address",
    "What counts as one replica (on loopback: each connection)",
    {
      ours: NEW,
    },
  ),
  slaveSyncIntervalMs: integer(
    10000,
    100,
    INT_MAX,
    "Time between two copies of topics, offsets and groups by a slave",
    {
      unit: "ms",
      live: true,
      ours: NEW,
    },
  ),
  resync: boolean(false, "A diverged slave moves its differing tail (after a hole: its log) aside and follows again", {
    ours: NEW,
    flagOnly: true,
  }),
};

const STORE = {
  storePathRootDir: text(derived("./data/<listenPort>"), "The store's directory", {
    alias: "store",
    ours: "Apache has ~/store",
  }),
  storePathCommitLog: text(
    derived("<storePathRootDir>/commitlog"),
    "The commit log's directory",
    {},
    /^[^,]+$/,
    "one path (several separated by commas are not supported)",
  ),
  mappedFileSizeCommitLog: integer(
    1073741824,
    4096,
    INT_MAX,
    "Size of a commit log file; the same on master and slave",
    {
      unit: "bytes",
    },
  ),
  mappedFileSizeConsumeQueue: integer(
    6000000,
    20,
    INT_MAX - 20,
    "Size of a consume queue file, rounded up to a multiple of 20",
    {
      unit: "bytes",
    },
  ),
  flushDiskType: choice(
    ["ASYNC_FLUSH", "SYNC_FLUSH"],
    "ASYNC_FLUSH",
    "SYNC_FLUSH: a put waits until it is on the disk",
  ),
  syncFlushTimeout: integer(5000, 1, INT_MAX, "Time a SYNC_FLUSH put waits for that", { unit: "ms", live: true }),
  flushIntervalCommitLog: integer(500, 1, INT_MAX, "Time between two flushes of the commit log", {
    unit: "ms",
    live: true,
  }),
  flushCommitLogLeastPages: integer(4, 0, INT_MAX, "Flush once so much is waiting", { unit: "pages", live: true }),
  flushCommitLogThoroughInterval: integer(10000, 1, INT_MAX, "Flush anything after this", { unit: "ms", live: true }),
  flushIntervalConsumeQueue: integer(1000, 1, INT_MAX, "Time between two flushes of the consume queues", {
    unit: "ms",
    live: true,
  }),
  flushConsumeQueueLeastPages: integer(2, 0, INT_MAX, "Flush a consume queue once so much is waiting", {
    unit: "pages",
    live: true,
  }),
  flushConsumeQueueThoroughInterval: integer(60000, 1, INT_MAX, "Flush any consume queue after this", {
    unit: "ms",
    live: true,
  }),
  maxMessageSize: integer(4194304, 10, 128 * 1024 * 1024, "Largest body of a message, or of a batch", {
    unit: "bytes",
    live: true,
  }),
  maxMsgsNumBatch: integer(64, 1, INT_MAX, "Most messages a query by key returns", { live: true }),
  defaultQueryMaxNum: integer(32, 1, INT_MAX, "Messages such a query returns when it names no number", { live: true }),
  checkCRCOnRecover: boolean(true, "Check body CRCs while recovering"),
  enabledAppendPropCRC: boolean(false, "Append a CRC of the whole record to its properties"),
  forceVerifyPropCRC: boolean(false, "Recovery refuses records without that CRC"),
  messageIndexEnable: boolean(true, "Keep index files for queries by key"),
  messageIndexSafe: boolean(false, "Recover index files like the rest, not only up to the checkpoint"),
  maxHashSlotNum: integer(5000000, 1, INT_MAX, "Hash slots of an index file"),
  maxIndexNum: integer(20000000, 2, INT_MAX, "Entries of an index file"),
  messageDelayLevel: text(
    "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
    "Delay levels, from 1",
    {},
    /^(\d+[smhd])( +\d+[smhd])*$/,
    "times like 1s 5m 2h 1d, separated by blanks",
  ),
  fileReservedTime: integer(72, 1, INT_MAX, "Files older than this may go", { unit: "h", live: true }),
  deleteWhen: text(
    "04",
    "Hours of the day at which they go",
    { live: true },
    /^([01]?\d|2[0-3])(;([01]?\d|2[0-3]))*$/,
    "hours from 00 to 23, separated by ;",
  ),
  diskMaxUsedSpaceRatio: integer(75, 10, 95, "Above it old files go at any hour", { unit: "%", live: true }),
  diskSpaceCleanForciblyRatio: integer(
    85,
    30,
    100,
    "Above it files go whatever their age, also those a live slave still needs",
    {
      unit: "%",
      live: true,
    },
  ),
  diskSpaceWarningLevelRatio: integer(90, 35, 100, "Above it nothing is written", { unit: "%", live: true }),
  cleanResourceInterval: integer(10000, 1, INT_MAX, "Time between two looks for files to remove", {
    unit: "ms",
    live: true,
  }),
  cleanFileForciblyEnable: boolean(true, "Allow removal whatever the age", { live: true }),
  deleteFileBatchMax: integer(10, 1, INT_MAX, "Files removed at one look", { live: true }),
  deleteCommitLogFilesInterval: integer(100, 0, INT_MAX, "Pause between two removals of commit log files", {
    unit: "ms",
    live: true,
  }),
};

const LIMITS = {
  haTlsEnable: boolean(
    false,
    "HA over TLS, both ends with a certificate; the same on master and slave, and nothing Apache's can take part",
    { ours: NEW },
  ),
  haTlsCertFile: optionalText("PEM file of this node's certificate (X.509 v3; how to make one: SECURITY.md)", {
    ours: NEW,
  }),
  haTlsKeyFile: optionalText("PEM file of its key", { ours: NEW }),
  haTlsCaFile: optionalText("PEM file of the CA that the other end's certificate has to come from", { ours: NEW }),
  haAllowedPeers: networks(
    "Who may connect to the HA port, by networks as 10.0.0.0/8,::1, from the next connection on; unset: anyone",
    { ours: NEW, live: true },
  ),
  haConnectionsMax: integer(1024, 1, 65535, "Connections of the HA port at once", { ours: NEW, live: true }),
  haConnectionsPerAddressMax: integer(64, 1, 65535, "Of them from one address", { ours: NEW, live: true }),
  remotingAllowedPeers: networks("Who may connect to the remoting and VIP ports, likewise; unset: anyone", {
    ours: NEW,
    live: true,
  }),
  remotingConnectionsMax: integer(16384, 1, 1000000, "Connections of each remoting port at once", {
    ours: NEW,
    live: true,
  }),
  remotingConnectionsPerAddressMax: integer(4096, 1, 1000000, "Of them from one address", { ours: NEW, live: true }),
  remotingFrameTimeout: integer(
    30000,
    100,
    INT_MAX,
    "Time a peer has for its first request, and for the rest of each request it began",
    { unit: "ms", ours: NEW, live: true },
  ),
  remotingHeldBytesMax: integer(
    536870912,
    16777216,
    OFFSET_MAX,
    "Memory for unfinished requests and unread answers of all remoting connections",
    { unit: "bytes", ours: NEW, live: true },
  ),
  serverChannelMaxIdleTimeSeconds: integer(120, 1, 2000000, "A remoting connection at rest for so long is closed", {
    unit: "s",
    live: true,
  }),
  adminConnectionsMax: integer(256, 1, 65535, "Connections of an admin port beyond loopback at once", { ours: NEW }),
  adminConnectionsPerAddressMax: integer(64, 1, 65535, "Of them from one address", { ours: NEW }),
};

/** The table, by section, in the order of the documents. */
export const SECTIONS: readonly {
  readonly title: string;
  readonly settings: Readonly<Record<string, Setting<unknown>>>;
}[] = [
  { title: "Node and addresses", settings: NODE },
  { title: "Admin and log output", settings: ADMIN },
  { title: "Replication", settings: HA },
  { title: "Store", settings: STORE },
  { title: "Producers and consumers", settings: CLIENTS },
  { title: "NameServer", settings: NAMESRV },
  { title: "Limits, TLS and allow-lists", settings: { ...LIMITS, ...REMOTING_TLS } },
];

/** Every row by its key. */
export const SETTINGS = {
  ...NODE,
  ...ADMIN,
  ...HA,
  ...STORE,
  ...CLIENTS,
  ...NAMESRV,
  ...LIMITS,
  ...REMOTING_TLS,
};

/** A configuration key. */
export type ConfigKey = keyof typeof SETTINGS;

/**
 * The effective configuration: every key with its value, defaults worked out. One object per node: what may change at
 * run time is changed in it, so components keep the object (typed as the few keys they use) and read it at each use.
 */
export type Config = { readonly [K in ConfigKey]: SettingValue<(typeof SETTINGS)[K]> };

/** The roles of a broker, Apache's `BrokerRole`. */
export type BrokerRole = Config["brokerRole"];

/** Whether the text is a key of the table. */
export function isConfigKey(key: string): key is ConfigKey {
  return Object.hasOwn(SETTINGS, key);
}

/** The row of a key. */
export function settingOf(key: ConfigKey): Setting<unknown> {
  return SETTINGS[key];
}

/** Every key, in table order. */
export const CONFIG_KEYS = Object.keys(SETTINGS) as readonly ConfigKey[];
