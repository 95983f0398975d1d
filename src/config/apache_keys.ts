// Apache keys that have no row in schema.ts: old spellings, modes that are refused, things done differently here, and
// keys that simply have no effect. A broker.conf may carry any of them; load.ts says one line about each.

import type { ConfigKey } from "./schema.ts";

/** Other spellings of a key, from 4.x. Both given with different values is an error. */
export const ALIASES: Readonly<Record<string, ConfigKey>> = {
  mapedFileSizeCommitLog: "mappedFileSizeCommitLog",
  mapedFileSizeConsumeQueue: "mappedFileSizeConsumeQueue",
  haSlaveFallbehindMax: "haMaxGapNotInSync",
};

const NO_ACL = "access control is not supported, everybody who reaches the ports would be let in: " +
  "protect them by remotingAllowedPeers or TLS certificates (SECURITY.md)";

/**
 * Modes that are not supported, where going on would leave less than the file says: any value but `only` refuses to start.
 * `instead` says what to do.
 */
export const REFUSED: Readonly<Record<string, { readonly only: string; readonly instead: string }>> = {
  enableControllerMode: { only: "false", instead: "controller mode is not supported" },
  enableDLegerCommitLog: { only: "false", instead: "DLedger commit logs are not supported" },
  duplicationEnable: { only: "false", instead: "log duplication is not supported" },
  storeType: { only: "default", instead: "only Apache's default consume queue files are supported" },
  aclEnable: { only: "false", instead: NO_ACL },
  authenticationEnabled: { only: "false", instead: NO_ACL },
  authorizationEnabled: { only: "false", instead: NO_ACL },
  useTLS: { only: "false", instead: "TLS to other nodes is tlsEnable=true here" },
};

/** Whether a value of a key of {@link REFUSED} is the one that is no mode; in any case, as Java reads true and false. */
export function isAccepted(value: string, only: string): boolean {
  return value.trim().toLowerCase() === only.toLowerCase();
}

const ONE_LOOP = "not needed: one event loop appends, there is no lock to choose";
const POSITIONAL = "not needed: files are written positionally, and mapped only to read what is in memory";

/** Keys whose purpose is met in another way: what is done instead. */
export const REPLACED: Readonly<Record<string, string>> = {
  transientStorePoolEnable: "not needed: records go straight to the page cache by positional writes, there is no pool",
  transientStorePoolSize: "not needed: there is no transient store pool",
  fastFailIfNoBufferInStorePool: "not needed: there is no transient store pool",
  commitIntervalCommitLog: "not needed: without a transient store pool nothing has to be committed before a flush",
  commitCommitLogLeastPages: "not needed: without a transient store pool nothing has to be committed before a flush",
  commitCommitLogThoroughInterval:
    "not needed: without a transient store pool nothing has to be committed before a flush",
  wakeCommitWhenPutMessage: "not needed: without a transient store pool nothing has to be committed before a flush",
  wakeFlushWhenPutMessage: "not needed: a put arms the flush timer, nothing polls",
  warmMapedFileEnable: POSITIONAL,
  flushLeastPagesWhenWarmMapedFile: POSITIONAL,
  putConsumeQueueDataByFileChannel: "always so: consume queues are written positionally",
  useReentrantLockWhenPutMessage: ONE_LOOP,
  topicQueueLockNum: ONE_LOOP,
  osPageCacheBusyTimeOutMills: "not needed: puts are queued in order and bounded, no put holds a lock for long",
  destroyMapedFileIntervalForcibly: "not needed: a file is closed and removed at once, no reader holds a mapping",
  redeleteHangedFileInterval: "not needed: a removed file cannot hang, no reader holds a mapping",
  syncMasterFlushOffsetWhenStartup: "not needed: a slave compares its tail with the master's bytes on connecting",
  maxSlaveResendLength: "not used, as in Apache's default HA",
  maxChecksumRange: "not used, as in Apache's default HA",
  putMessageTimeout: "not used, as in Apache: slaveTimeout and syncFlushTimeout bound a put",
  flushCommitLogTimed: "not needed: a put arms the flush timer, a log at rest is not looked at",
  autoMessageVersionOnTopicLen: "always so: a topic over 127 bytes makes a record of the second version",
  totalReplicas: "not needed: inSyncReplicas and minInSyncReplicas say how many copies count",
  allAckInSyncStateSet: "controller mode only: inSyncReplicas says how many copies a put waits for",
  haMaxTimeSlaveNotCatchup: "controller mode only: haMaxGapNotInSync says which slaves are in sync",
  asyncLearner: "controller mode only: a slave whose copies should not count is not supported",
  enableSlaveActingMaster:
    "not supported: a slave never acts for its master, promote it by the verb role or switchover",
  enableConsumeQueueExt: "not supported: consume queues are written without extension files",
  enableCalcFilterBitMap: "not needed: an SQL92 filter looks at each message's properties, there are no bit maps",
  lockInStrictMode: "not supported: queue locks are this broker's own",
  enableLmq: "not supported: only the message's own consume queue is written",
  enableMultiDispatch: "not supported: only the message's own consume queue is written",
  fastListenPort: "the VIP port is vipListenPort, listenPort - 2 by default",
  brokerFastFailureEnable: "not needed: queues are bounded, and a full one stops reading its connection",
  filterServerNums: "not supported: FilterServers are gone since 4.3, filter by SQL92 (enablePropertyFilter)",
};

/**
 * Values at which a key of {@link REPLACED} asks for nothing; another one is worth a line of its own. What is not here makes
 * no difference that anybody sees, whatever its value.
 */
const ASKS_NOTHING: Readonly<Record<string, string>> = {
  transientStorePoolEnable: "false",
  autoMessageVersionOnTopicLen: "true",
  totalReplicas: "1",
  allAckInSyncStateSet: "false",
  asyncLearner: "false",
  enableSlaveActingMaster: "false",
  enableConsumeQueueExt: "false",
  lockInStrictMode: "false",
  enableLmq: "false",
  enableMultiDispatch: "false",
  fastListenPort: "0",
  filterServerNums: "0",
};

/** Whether a key of {@link REPLACED} with this value needs a line of its own. */
export function needsExplaining(key: string, value: string): boolean {
  const nothing = ASKS_NOTHING[key];
  return nothing !== undefined && value.trim().toLowerCase() !== nothing;
}

/** Keys of {@link REPLACED} at which nothing is lost, whatever they ask for. */
export const HARMLESS: ReadonlySet<string> = new Set(["transientStorePoolEnable"]);

/**
 * Keys that many files of 4.x have, copied from one to the next, and that no Apache broker reads: it works these paths out
 * from storePathRootDir, as we do. Where they are below it.
 */
export const FIXED_PATHS: Readonly<Record<string, string>> = {
  storePathConsumeQueue: "consumequeue",
  storePathIndex: "index",
  storeCheckpoint: "checkpoint",
  abortFile: "abort",
};

/** Whether a key is a broker's that has no row in the table. */
export function isOtherBrokerKey(key: string): boolean {
  return [ALIASES, REFUSED, REPLACED, FIXED_PATHS].some((keys) => Object.hasOwn(keys, key)) || WITHOUT_EFFECT.has(key);
}

/** All further keys of Apache 5.3.3 and of 4.x, without effect here; so that they are not taken for typing errors. */
export const WITHOUT_EFFECT: ReadonlySet<string> = new Set(
  `accessMessageInMemoryHotRatio accountStatsEnable accountStatsPrintZeroValues ackMessageThreadPoolNums
ackThreadPoolQueueCapacity aclCacheExpiredSecond aclCacheMaxNum aclCacheRefreshSecond adminBrokerThreadPoolNums
adminBrokerThreadPoolQueueCapacity allowRecallWhenBrokerNotWriteable appendAckAsync appendCkAsync asyncSendEnable
authConfigPath authenticationMetadataProvider authenticationProvider authenticationStrategy authenticationWhitelist
authorizationMetadataProvider authorizationProvider authorizationStrategy authorizationWhitelist
autoDeleteUnusedStats batchDispatchRequestThreadPoolNums bitMapLengthConsumeQueueExt
bottomMostCompressionTypeForConsumeQueueStore brokerConfigPath brokerElectionPriority brokerHeartbeatInterval
brokerNotActiveTimeoutMillis cgColdReadThreshold channelNotActiveInterval checkSyncStateSetPeriod
cleanOfflineBrokerInterval cleanRocksDBDirtyCQIntervalMin cleanSwapedMapInterval clientAsyncSemaphoreValue
clientCallbackExecutorThreads clientChannelMaxIdleTimeSeconds clientCloseSocketIfTimeout
clientManagerThreadPoolQueueCapacity clientManageThreadPoolNums clientOnewaySemaphoreValue
clientPooledByteBufAllocatorEnable clientSocketRcvBufSize clientSocketSndBufSize clientWorkerThreads clusterName
coldCtrStrategyEnable coldDataFlowControlEnable coldDataScanEnable commercialBaseCount commercialBigCount
commercialEnable commercialSizePerMsg commercialTimerCount commercialTransCount
commitLogForceSwapMapInterval commitLogSwapMapInterval commitLogSwapMapReserveFileNum compactionCqMappedFileSize
compactionMappedFileSize compactionScheduleInternal compactionThreadNum compatibleWithOldNameSrv
configManagerVersion configName connectTimeoutMillis consumerManagerThreadPoolQueueCapacity
consumerManageThreadPoolNums controllerAddr controllerHeartBeatTimeoutMills correctLogicMinOffsetForceInterval
correctLogicMinOffsetSleepInterval dataReadAheadEnable debugLockEnable defaultMessageRequestMode
defaultPopShareQueueNum deleteConsumeQueueFilesInterval disableCallbackExecutor disableNettyWorkerGroup disappearTimeAfterStart diskFallRecorded
dispatchCqCacheNum dispatchCqThreads dispatchFromSenderThread dLegerGroup dLegerPeers dLegerSelfId enableAsyncReput
enableBatchPush enableBuildConsumeQueueConcurrently enableCleanExpiredOffset enableCompaction enableCreateSysGroup
enableDetailStat enableFastChannelEventProcess enableLmqStats enableNetWorkFlowControl
enableNotifyAfterPopOrderLockRelease enableNotifyBeforePopCalculateLag enablePopBatchAck enablePopBufferMerge
enablePopLog enablePopMessageThreshold enableReconnectForGoAway enableRegisterProducer enableRemoteEscape
enableRetryTopicV2 enableRocksDBLog enableScheduleAsyncDeliver enableScheduleMessageStats enableShutdownGracefully
enableSingleTopicRegister enableSkipLongAwaitingAck enableSplitRegistration endTransactionPoolQueueCapacity
endTransactionThreadPoolNums estimateAccumulation fetchControllerAddrByDnsLookup fetchNamesrvAddrByAddressServer
fetchNameSrvAddrByDnsLookup fetchNamesrvAddrInterval flushConsumerOffsetHistoryInterval forwardTimeout
globalColdReadThreshold heartbeatThreadPoolNums heartbeatThreadPoolQueueCapacity highSpeedMode
initAuthenticationUser initPopOffsetByCheckMsgInMem innerClientAuthenticationCredentials isBrokerContainer
isInBrokerContainer isolateLogEnable isScanAvailableNameSrv litePullMessageThreadPoolNums
litePullThreadPoolQueueCapacity loadBalancePollNameServerInterval loadBalanceProcessorThreadPoolNums
loadBalanceThreadPoolQueueCapacity logicalDiskSpaceCleanForciblyThreshold logicQueueForceSwapMapInterval
logicQueueSwapMapInterval logicQueueSwapMapReserveFileNum mappedFileSizeConsumeQueueExt mappedFileSwapEnable
mapperFileSizeBatchConsumeQueue maxAsyncPutMessageRequests maxBatchDeleteFilesNum maxConsumeQueueScan maxDelayTime
maxLmqConsumeQueueNum maxOffsetMapSize maxPopPollingSize maxReconnectIntervalTimeSeconds maxRecoveryCommitlogFiles
maxStatsIdleTimeInMinutes maxTopicLength memTableFlushIntervalMs messageStorePlugIn
metricGrpcExporterIntervalInMills metricGrpcExporterTimeOutInMills metricLoggingExporterIntervalInMills
metricsExporterType metricsGrpcExporterHeader metricsGrpcExporterTarget metricsInDelta metricsLabel
metricsOtelCardinalityLimit metricsPromExporterHost metricsPromExporterPort migrateAuthFromV1Enabled namesrvDomain
namesrvDomainSubgroup popCkMaxBufferSize popCkOffsetMaxQueueSize popCkStayBufferTime popCkStayBufferTimeOut
popConsumerFSServiceInit popConsumerKVServiceEnable popConsumerKVServiceInit popConsumerKVServiceLog
popFromRetryProbability popInflightMessageThreshold popLongPollingForceNotifyInterval popPollingMapSize
popPollingSize popResponseReturnActualRetryTopic popReviveMaxAttemptTimes popReviveMaxReturnSizePerRead
preferredLeaderId printChannelGroups printChannelGroupsMinNum processReplyMessageThreadPoolNums
pullBatchMaxMessageCount pullMessageThreadPoolNums pullThreadPoolQueueCapacity putMessageFutureThreadPoolNums
putMsgIndexHightWater putThreadPoolQueueCapacity queryMessageThreadPoolNums queryThreadPoolQueueCapacity
readOnlyCommitLogStorePaths readUnCommitted realTimeNotifyConsumerChange realTimePersistRocksDBConfig
recheckReputOffsetFromCq recoverConcurrently recoverThreadPoolNums replicasPerDiskPartition
replyThreadPoolQueueCapacity retrieveMessageFromPopRetryTopicV1 reviveAckWaitMs reviveInterval reviveMaxSlow
reviveScanTime rocketmqHome rocksdbCompressionType rocksdbCQDoubleWriteEnable rocksdbFlushWalFrequency
rocksdbWalFileRollingThreshold sampleCountThreshold sampleSteps scheduleAsyncDeliverMaxPendingLimit
scheduleAsyncDeliverMaxResendNum2Blocked searchBcqByCacheEnable sendHeartbeatTimeoutMillis sendMessageThreadPoolNums
sendThreadPoolQueueCapacity serverAsyncSemaphoreValue serverCallbackExecutorThreads serverLoadBalancerEnable
serverNettyWorkerGroupEnable serverOnewaySemaphoreValue serverPooledByteBufAllocatorEnable serverSelectorThreads
serverSocketBacklog serverSocketRcvBufSize serverSocketSndBufSize serverWorkerThreads shutdownWaitTimeSeconds
skipPreOnline skipWhenCKRePutReachMaxTimes socksProxyConfig spinLockCollisionRetreatOptimalDegree
splitRegistrationSize statefulAuthenticationCacheExpiredSecond statefulAuthenticationCacheMaxNum
statefulAuthorizationCacheExpiredSecond statefulAuthorizationCacheMaxNum statRocksDBCQIntervalSec
storePathBrokerIdentity storePathDLedgerCommitLog storePathEpochFile syncBrokerMemberGroupPeriod
syncBrokerMetadataPeriod syncControllerMetadataPeriod timerCheckMetricsWhen timerColdDataCheckIntervalMs
timerEnableCheckMetrics timerEnableDisruptor timerEnableRetryUntilSuccess timerGetMessageThreadNum
timerInterceptDelayLevel timerMetricSmallThreshold timerProgressLogIntervalMs timerPutMessageThreadNum
timerSkipUnknownError timerStopDequeue timerStopEnqueue timerWarmEnable transactionMetricFlushInterval
transferMsgByHeap travelCqFileNumWhenGetMessage updateNameServerAddrPeriod useABSLock useEpollNativeSelector
usePIDColdCtrStrategy userCacheExpiredSecond userCacheMaxNum userCacheRefreshSecond useStaticSubscription
waitTimeMillsInAckQueue waitTimeMillsInAdminBrokerQueue waitTimeMillsInHeartbeatQueue waitTimeMillsInLitePullQueue
waitTimeMillsInPullQueue waitTimeMillsInSendQueue waitTimeMillsInTransactionQueue writeBufferHighWaterMark
writeBufferLowWaterMark`.split(/\s+/),
);
