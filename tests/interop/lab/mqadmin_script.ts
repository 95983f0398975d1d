// The mqadmin commands that are compared, in order, each with how its output is: as lines, as lines in any order, by keys,
// or by the JSON file it writes. Words in braces are filled in; what is masked differs without meaning anything.

/** One command. */
export interface MqadminStep {
  /** The command and its arguments, separated by blanks. */
  readonly words: string;
  /**
   * How the output is compared. `lines` and `set` (any order): as text. `keys`: names before `:` or `=`, and values of
   * `values`. `shared`: values of the names that both have. `file`: the JSON it wrote. `shape`: that one's members.
   */
  readonly by: "lines" | "set" | "keys" | "shared" | "file" | "shape";
  readonly mask?: readonly (readonly [RegExp, string])[];
  /** For `keys`: names whose values are compared too; for `shared`: those whose values are not. */
  readonly values?: readonly string[];
  /** The file it writes, below the folder. */
  readonly file?: string;
  /** It goes on for ever, and is interrupted after this. */
  readonly limitMs?: number;
  /** What is left out of the comparison because it is meant to differ. */
  readonly but?: string;
}

/** A word of the lab itself, such as `@send`; not compared. */
export interface LabStep {
  readonly lab: string;
}

const RATE: readonly [RegExp, string] = [/\b\d+\.\d+\b/g, "<rate>"];
/** Apache counts a topic's own name among its consumer groups; what comes of asking after that group is taken out. */
const TOPIC_AS_GROUP = "Apache names the topic itself among its groups";
const NO_TOPIC_AS_GROUP: readonly [RegExp, string] = [/MessageTrack \[consumerGroup=T1,[^\n]*/g, ""];
/** The client's own figures and ids. */
const CLIENT: readonly (readonly [RegExp, string])[] = [
  RATE,
  [/\b\d{14,17}\b/g, "<time>"],
  [/MqadminLab\$\$Lambda\S+/g, "<listener>"],
  // The client learns of its retry topic when it next asks for the route.
  [/^%RETRY%G1 lab 0 .*$/gm, ""],
  [/(lastPullTimestamp|lastConsumeTimestamp|lastLockTimestamp)=[^,\]]*/g, "$1=<time>"],
];

/** The commands. */
export const MQADMIN_STEPS: readonly (MqadminStep | LabStep)[] = [
  {
    words: "clusterList -n {namesrv}",
    by: "lines",
    mask: [RATE, [/<rate>\(.*\) (?=\d+ <rate>)/, "<load> "], [/\d+-\d+\(.*?\)/, "<timer>"]],
  },
  { words: "updateTopic -n {namesrv} -b {broker} -t T1 -r 4 -w 4 -a +message.type=NORMAL", by: "lines" },
  { words: "updateTopic -n {namesrv} -c LabCluster -t T2 -r 2 -w 2 -o true", by: "lines" },
  { words: "updateTopic -n {namesrv} -b {broker} -t TBW102", by: "lines" },
  { words: "updateTopicList -n {namesrv} -b {broker} -f {folder}/topics.json", by: "lines" },
  { words: "updateTopicPerm -n {namesrv} -b {broker} -t ListA -p 4", by: "lines" },
  { words: "topicRoute -n {namesrv} -t T1", by: "lines" },
  { words: "topicRoute -n {namesrv} -t T1 -l", by: "lines" },
  { words: "topicRoute -n {namesrv} -t None", by: "lines" },
  { words: "topicList -n {namesrv}", by: "set" },
  { words: "topicList -n {namesrv} -c", by: "set" },
  { words: "topicClusterList -n {namesrv} -t T1", by: "lines" },
  { words: "updateSubGroup -n {namesrv} -b {broker} -g G1 -r 5", by: "lines" },
  { words: "updateSubGroup -n {namesrv} -c LabCluster -g G9", by: "lines" },
  { words: "updateSubGroupList -n {namesrv} -b {broker} -f {folder}/groups.json", by: "lines" },
  { words: "getConsumerConfig -n {namesrv} -g G1", by: "lines" },
  { lab: "@send T1 12" },
  { lab: "@consume G1 T1" },
  { lab: "@await G1 12" },
  { words: "topicStatus -n {namesrv} -t T1", by: "lines", mask: [[/TPS: .*/, "TPS: <rate>"]] },
  {
    words: "queryMsgById -n {namesrv} -t T1 -i {offsetMsgId}",
    by: "lines",
    mask: [NO_TOPIC_AS_GROUP],
    but: TOPIC_AS_GROUP,
  },
  {
    words: "queryMsgById -n {namesrv} -t T1 -i {offsetMsgId} -g G1 -d 127.0.0.1@lab",
    by: "lines",
    mask: [[/\d+\b(?=[,}\]])/g, "<number>"]],
  },
  { words: "queryMsgByKey -n {namesrv} -t T1 -k key3", by: "lines" },
  { words: "queryMsgByKey -n {namesrv} -t T1 -k none", by: "lines" },
  {
    words: "queryMsgByUniqueKey -n {namesrv} -t T1 -i {msgId}",
    by: "lines",
    mask: [NO_TOPIC_AS_GROUP],
    but: TOPIC_AS_GROUP,
  },
  {
    words: "queryMsgByOffset -n {namesrv} -t T1 -b lab -i 1 -o 0",
    by: "lines",
    mask: [NO_TOPIC_AS_GROUP],
    but: TOPIC_AS_GROUP,
  },
  { words: "consumerProgress -n {namesrv}", by: "set", mask: [[/(CLUSTERING|OFFLINE) +\d+ /, "$1 <rate> "]] },
  { words: "consumerProgress -n {namesrv} -g G1", by: "lines", mask: [[/TPS: .*/, "TPS: <rate>"]] },
  { words: "consumerConnection -n {namesrv} -g G1", by: "lines" },
  { words: "consumerConnection -n {namesrv} -g None", by: "lines" },
  { words: "consumerStatus -n {namesrv} -g G1", by: "lines", mask: CLIENT },
  { words: "consumerStatus -n {namesrv} -g G1 -i 127.0.0.1@lab", by: "lines", mask: CLIENT },
  { words: "producerConnection -n {namesrv} -g lab_producer -t T1", by: "lines" },
  { words: "producerConnection -n {namesrv} -g None -t T1", by: "lines" },
  { words: "producer -n {namesrv} -b {broker}", by: "set" },
  {
    words: "brokerStatus -n {namesrv} -b {broker}",
    by: "keys",
    values: [
      "brokerActive",
      "brokerVersion",
      "brokerVersionDesc",
      "commitLogMaxOffset",
      "commitLogMinOffset",
      "dispatchBehindBytes",
      "msgPutTotalTodayNow",
      "putMessageTimesTotal",
      "putMessageSizeTotal",
      "remainTransientStoreBufferNumbs",
    ],
    but: "4.9's spelling of a key, getTransferedTps, and three keys of our own, twinlog…, are there too",
  },
  { words: "brokerConsumeStats -n {namesrv} -b {broker}", by: "set" },
  { words: "brokerConsumeStats -n {namesrv} -b {broker} -o true", by: "set" },
  {
    words: "getBrokerConfig -n {namesrv} -b {broker}",
    by: "shared",
    values: ["inSyncReplicas", "clientCallbackExecutorThreads", "diskMaxUsedSpaceRatio", "listenPort", "haListenPort"],
    but: "settings without meaning here are left out, and ours are there too",
  },
  { words: "updateBrokerConfig -n {namesrv} -b {broker} -k fileReservedTime -v 48", by: "lines" },
  { words: "updateBrokerConfig -n {namesrv} -c LabCluster -k fileReservedTime -v 72", by: "lines" },
  { words: "updateBrokerConfig -n {namesrv} -b {broker} -k configBlackList -v x", by: "lines" },
  { words: "haStatus -n {namesrv} -b {broker}", by: "lines" },
  { words: "haStatus -n {namesrv} -c LabCluster", by: "lines" },
  {
    words: "statsAll -n {namesrv} -t T1",
    by: "lines",
    mask: [RATE, [/^T1 +T1 .*$/m, ""]],
    but: TOPIC_AS_GROUP,
  },
  { words: "queryCq -n {namesrv} -t T1 -q 0 -i 0 -c 3 -b {broker}", by: "lines" },
  { words: "queryCq -n {namesrv} -t T1 -q 0 -i 0 -c 3 -b {broker} -g G1", by: "lines" },
  { words: "sendMessage -n {namesrv} -t T1 -p hello -k k -c tag -b lab -i 0", by: "lines" },
  { words: "consumeMessage -n {namesrv} -t T1 -b lab -i 0 -o 0 -c 2", by: "lines" },
  { words: "sendMsgStatus -n {namesrv} -b lab -c 2 -s 10", by: "lines", mask: [[/rt=\d+ms/g, "rt=<time>"]] },
  { words: "checkMsgSendRT -n {namesrv} -t T1 -a 3 -s 10", by: "lines", mask: [[/(true|RT:) +[\d.]+/g, "$1 <time>"]] },
  {
    words: "clusterRT -n {namesrv} -a 2 -s 10 -c LabCluster -i 60",
    by: "lines",
    limitMs: 5000,
    mask: [[/lab +[\d.]+/g, "lab <time>"], [/org\.apache[^]*$/, ""]],
  },
  { words: "printMsg -n {namesrv} -t T1 -d true", by: "lines" },
  { words: "printMsgByQueue -n {namesrv} -t T1 -a lab -i 0 -p true -d true -f true", by: "set" },
  { words: "queryMsgTraceById -n {namesrv} -i {msgId}", by: "lines" },
  { words: "resetOffsetByTime -n {namesrv} -g G1 -t T1 -s -1", by: "set" },
  { words: "resetOffsetByTime -n {namesrv} -g G1 -t T1 -s -1 -b {broker} -q 0 -o 1", by: "set" },
  { words: "resetOffsetByTime -n {namesrv} -g None -t T1 -s -1", by: "set" },
  { words: "skipAccumulatedMessage -n {namesrv} -g G1 -t T1", by: "set" },
  { words: "cloneGroupOffset -n {namesrv} -s G1 -d G9 -t T1", by: "lines" },
  { words: "updateKvConfig -n {namesrv} -s NS -k K -v V", by: "lines" },
  { words: "deleteKvConfig -n {namesrv} -s NS -k K", by: "lines" },
  { words: "updateOrderConf -n {namesrv} -t T2 -m put -v lab:2", by: "lines" },
  { words: "updateOrderConf -n {namesrv} -t T2 -m get", by: "lines" },
  { words: "updateOrderConf -n {namesrv} -t T2 -m delete", by: "lines" },
  { words: "wipeWritePerm -n {namesrv} -b lab", by: "lines" },
  { words: "addWritePerm -n {namesrv} -b lab", by: "lines" },
  {
    words: "getNamesrvConfig -n {namesrv}",
    by: "shared",
    values: ["configStorePath", "kvConfigPath"],
    but: "settings without meaning here are left out",
  },
  { words: "updateNamesrvConfig -n {namesrv} -k enableTopicList -v true", by: "lines" },
  { words: "allocateMQ -n {namesrv} -t T1 -i 10.0.0.1,10.0.0.2", by: "lines" },
  { words: "cleanExpiredCQ -n {namesrv} -b {broker}", by: "lines" },
  { words: "cleanExpiredCQ -n {namesrv} -c LabCluster", by: "lines" },
  { words: "cleanUnusedTopic -n {namesrv} -b {broker}", by: "lines" },
  { words: "deleteExpiredCommitLog -n {namesrv} -b {broker}", by: "lines" },
  { words: "setConsumeMode -n {namesrv} -b {broker} -t T1 -g G1 -m PULL", by: "lines" },
  { words: "resetMasterFlushOffset -n {namesrv} -b {broker} -o 0", by: "lines" },
  { words: "exportMetadata -n {namesrv} -b {broker} -t -f {folder}/topic", by: "file", file: "topic/topic.json" },
  {
    words: "exportMetadata -n {namesrv} -b {broker} -g -f {folder}/group",
    by: "file",
    file: "group/subscriptionGroup.json",
  },
  { words: "exportMetadata -n {namesrv} -c LabCluster -f {folder}/all", by: "file", file: "all/metadata.json" },
  {
    words: "exportConfigs -n {namesrv} -c LabCluster -f {folder}/configs",
    by: "file",
    file: "configs/configs.json",
  },
  { words: "exportMetrics -n {namesrv} -c LabCluster -f {folder}/metrics", by: "shape", file: "metrics/metrics.json" },
  { words: "exportPopRecord -n {namesrv} -b {broker} -d true", by: "lines" },
  { words: "getBrokerEpoch -n {namesrv} -b lab", by: "lines" },
  { words: "getColdDataFlowCtrInfo -n {namesrv} -b {broker}", by: "lines" },
  { words: "removeColdDataFlowCtrGroupConfig -n {namesrv} -b {broker} -g G1", by: "lines" },
  { words: "rocksDBConfigToJson -n {namesrv} -b {broker} -c LabCluster -t topics", by: "lines" },
  { words: "startMonitoring -n {namesrv}", by: "lines" },
  { words: "deleteSubGroup -n {namesrv} -b {broker} -g GroupB -r true", by: "lines" },
  { words: "deleteTopic -n {namesrv} -c LabCluster -t ListB", by: "lines" },
  { words: "clusterList -n {namesrv} -m", by: "lines", mask: [[/(lab +\d+ +\d+) +\d+ +\d+/, "$1 <put> <got>"]] },
  { lab: "@stop G1" },
  { words: "consumerConnection -n {namesrv} -g G1", by: "lines" },
];

/** Commands that ask a broker or NameServer for something this project does not have, and why they are not run. */
export const MISSING_COMMANDS: Readonly<Record<string, string>> = {
  updateStaticTopic: "static topics are not supported",
  remappingStaticTopic: "static topics are not supported",
  updateColdDataFlowCtrGroupConfig: "cold data flow control is not supported",
  setCommitLogReadAheadMode: "files are mapped only to read what is in memory, there is no read-ahead to set",
  checkRocksdbCqWriteProgress: "RocksDB is not supported",
  createUser: "users are not supported",
  updateUser: "users are not supported",
  deleteUser: "users are not supported",
  getUser: "users are not supported",
  listUser: "users are not supported",
  copyUser: "users are not supported",
  createAcl: "access lists are not supported",
  updateAcl: "access lists are not supported",
  deleteAcl: "access lists are not supported",
  getAcl: "access lists are not supported",
  listAcl: "access lists are not supported",
  copyAcl: "access lists are not supported",
};

/** Commands that ask neither a broker nor a NameServer. */
export const OTHER_COMMANDS: Readonly<Record<string, string>> = {
  addBroker: "asks a broker container",
  removeBroker: "asks a broker container",
  getSyncStateSet: "asks a controller",
  getControllerMetaData: "asks a controller",
  getControllerConfig: "asks a controller",
  updateControllerConfig: "asks a controller",
  electMaster: "asks a controller",
  cleanBrokerMetadata: "asks a controller",
  dumpCompactionLog: "reads a file",
  exportMetadataInRocksDB: "reads a file",
};
