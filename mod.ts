// Twinlog as a library. Every public name is listed here by hand, so that a change to the list shows in review, and every
// type that a public signature mentions is listed too (tests/package/ checks both). In-memory machines for tests are the
// second entry, `twinlog/testing`: src/runtime/simulated/mod.ts.

// A node.
export { type BrokerNode, type BrokerOptions, startBroker } from "./src/broker/broker_controller.ts";
export type {
  AdminOutcome,
  AdminPort,
  BrokerAddresses,
  KeyReadRequest,
  MasterStatus,
  MetricFigure,
  NodeStatus,
  PutOutcome,
  PutRequest,
  QueueRange,
  QueueReadRequest,
  QueueReadResult,
  RoleRequest,
  SlaveStatus,
} from "./src/admin/admin_port.ts";
export type {
  ClientsPort,
  ClientView,
  GroupDetail,
  GroupView,
  NamesrvView,
  OffsetReset,
  ProducerView,
  QueueProgress,
  TopicChange,
  TopicView,
} from "./src/admin/clients_port.ts";
export type { BrokerRole, Config, ConfigKey } from "./src/config/schema.ts";
export {
  type ConfigHost,
  type ConfigSource,
  createConfig,
  loadConfig,
  type LoadedConfig,
  parseConfigPatch,
} from "./src/config/load.ts";
export { createLogger, type LogFields, type Logger, type LogLevel, SILENT_LOGGER } from "./src/base/logger.ts";
export { ConfigError, IoError, type IoErrorKind, StoreError } from "./src/base/errors.ts";
export { VERSION } from "./src/broker/version.ts";

// The machine it runs on.
export { loadRuntime } from "./src/runtime/detect.ts";
export type {
  Clock,
  Connection,
  ConnectOptions,
  DiskUsage,
  FileHandle,
  FileInfo,
  FileSystem,
  HttpGate,
  HttpHandler,
  HttpOptions,
  HttpServer,
  Listener,
  ListenOptions,
  Net,
  NetAddress,
  Process,
  Random,
  Runtime,
  Timer,
  TlsClientOptions,
  TlsIdentity,
  TlsListenOptions,
  TlsServer,
  TlsServerOptions,
} from "./src/runtime/runtime.ts";

// The store alone: commit log, consume queues and index in Apache's files.
export {
  MessageStore,
  type MessageStoreOptions,
  type MessageStoreParts,
  type StoreRole,
  type StoreStatistics,
} from "./src/store/message_store.ts";
export {
  type AppendMessageResult,
  type BatchToPut,
  type MessageTimes,
  type MessageToPut,
  PutMessageStatus,
  type RecordHost,
  type StoredMessage,
} from "./src/store/types.ts";
export {
  BoundaryType,
  type ConsumeQueueEntry,
  type GetMessageResult,
  GetMessageStatus,
} from "./src/store/message_reader.ts";
export type { MessageFilter } from "./src/store/message_filter.ts";
export type { PullOptions, PullResult } from "./src/store/pull_reader.ts";
export type { MessageArrivingListener } from "./src/store/record_dispatcher.ts";
export {
  type CompareResult,
  compareStores,
  type VerifyFinding,
  type VerifyOptions,
  type VerifyResult,
  verifyStore,
} from "./src/store/store_verify.ts";

// Replication alone, over any log: the master's side, then the slave's.
export type { ReplicaAppendResult, ReplicaLog, ReplicaRejectReason } from "./src/ha/replica_log.ts";
export {
  type HAConnectionPort,
  HAService,
  type HAServiceOptions,
  type ReplicationStatus,
} from "./src/ha/ha_service.ts";
export type { GroupCommitStatus } from "./src/ha/group_transfer_service.ts";
export type { HAConnection, Transfer } from "./src/ha/ha_connection.ts";
export type { FlowMonitor } from "./src/ha/flow_monitor.ts";
export {
  HAConnectionState,
  type HAConnectionStateNotificationRequest,
  type HAConnectionStateNotificationService,
} from "./src/ha/ha_connection_state.ts";
export type {
  HAClientRuntimeInfo,
  HAConnectionRuntimeInfo,
  HARefusalReason,
  HARuntimeInfo,
  RefusalCounter,
} from "./src/ha/ha_runtime_info.ts";
export { HAMasterDriver } from "./src/broker/ha_master_driver.ts";
export { HAClientDriver, type HAClientStatus } from "./src/broker/ha_client_driver.ts";
export type { HAClientCounters, HAClientDriverOptions, HAClientDriverParts } from "./src/broker/ha_client_session.ts";
export type { HAClientState } from "./src/ha/ha_client.ts";
export type { MasterRange } from "./src/ha/start_offset.ts";
