// Twinlog as a library. Every public name is listed here by hand, so that a change to the list shows in review.

export { type BrokerAddresses, type BrokerNode, type BrokerOptions, startBroker } from "./src/broker/broker_controller.ts";
export { VERSION } from "./src/broker/version.ts";
export type {
  AdminOutcome,
  AdminPort,
  KeyReadRequest,
  MasterStatus,
  NodeStatus,
  PutOutcome,
  PutRequest,
  QueueRange,
  QueueReadRequest,
  QueueReadResult,
  RoleRequest,
  SlaveStatus,
} from "./src/admin/admin_port.ts";
export type { BrokerRole, Config } from "./src/config/schema.ts";
export { createConfig, loadConfig, type LoadedConfig } from "./src/config/load.ts";
export { loadRuntime } from "./src/runtime/detect.ts";
export type { Runtime } from "./src/runtime/runtime.ts";
export { createLogger, type Logger, SILENT_LOGGER } from "./src/base/logger.ts";
export { ConfigError, IoError, StoreError } from "./src/base/errors.ts";

// The parts, for programs that want less than a node.
export { MessageStore } from "./src/store/message_store.ts";
export {
  type AppendMessageResult,
  type MessageToPut,
  PutMessageStatus,
  type RecordHost,
  type StoredMessage,
} from "./src/store/types.ts";
export { compareStores, verifyStore } from "./src/store/store_verify.ts";
export type { ReplicaLog } from "./src/ha/replica_log.ts";
export { HAService, type HAServiceOptions } from "./src/ha/ha_service.ts";
export { HAMasterDriver } from "./src/broker/ha_master_driver.ts";
export { HAClientDriver, type HAClientDriverOptions, type HAClientStatus } from "./src/broker/ha_client_driver.ts";
