// The options of the HA parts with Apache's defaults (and ours where they differ), for tests to change one by one.

import type { LogFields, Logger } from "../../src/base/logger.ts";
import type { HAServiceOptions } from "../../src/ha/ha_service.ts";

export type MutableHAServiceOptions = { -readonly [K in keyof HAServiceOptions]: HAServiceOptions[K] };

/** A fresh set. */
export function haOptions(changes: Partial<HAServiceOptions> = {}): MutableHAServiceOptions {
  return {
    haSendHeartbeatInterval: 5000,
    haHousekeepingInterval: 20000,
    haTransferBatchSize: null,
    haTransferAfterFlush: false,
    syncFromLastFile: false,
    haFlowControlEnable: false,
    maxHaTransferByteInSecond: 104857600,
    inSyncReplicas: 2,
    minInSyncReplicas: 1,
    enableAutoInSyncReplicas: false,
    slaveTimeout: 3000,
    haMaxGapNotInSync: 268435456,
    haCountSlavesBy: "address",
    haConnectionsMax: 1024,
    haConnectionsPerAddressMax: 4096,
    ...changes,
  };
}

/** A logger that remembers its lines. */
export class MemoryLogger implements Logger {
  readonly lines: { level: string; message: string; fields: LogFields }[] = [];
  debug(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "debug", message, fields });
  }
  info(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "info", message, fields });
  }
  warn(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "warn", message, fields });
  }
  error(message: string, fields: LogFields = {}): void {
    this.lines.push({ level: "error", message, fields });
  }
}
