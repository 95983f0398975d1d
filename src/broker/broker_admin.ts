// The node as the admin API sees it: AdminPort over the controller's parts. It only translates: every rule it applies is
// somebody else's.

import { IoError, RemotingError } from "../base/errors.ts";
import type {
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
} from "../admin/admin_port.ts";
import type { ClientsPort } from "../admin/clients_port.ts";
import type { ConnectionLimits } from "../base/connection_limits.ts";
import { applyConfigPatch } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { HAConnectionState } from "../ha/ha_connection_state.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { MessageStore } from "../store/message_store.ts";
import { PutMessageStatus, type RecordHost, type StoredMessage } from "../store/types.ts";
import { brokerFigures } from "./broker_figures.ts";
import type { NamesrvState } from "./broker_outer_api.ts";
import type { HAClientDriver } from "./ha_client_driver.ts";
import type { HAMasterDriver } from "./ha_master_driver.ts";
import type { PutMessageService } from "./put_message_service.ts";
import type { RemotingServer } from "../remoting/remoting_server.ts";
import type { RoleController } from "./role_controller.ts";
import type { TopicConfigManager } from "./topic_config_manager.ts";

/** What it looks at. */
export interface BrokerAdminParts {
  readonly config: Config;
  readonly runtime: Runtime;
  readonly version: string;
  readonly store: MessageStore;
  readonly masterDriver: HAMasterDriver;
  readonly clientDriver: HAClientDriver;
  readonly roles: RoleController;
  readonly puts: PutMessageService;
  readonly topics: TopicConfigManager;
  readonly remotingServers: readonly RemotingServer[];
  readonly adminLimits: ConnectionLimits;
  readonly namesrvStates: () => readonly NamesrvState[];
  readonly addresses: () => BrokerAddresses;
  /** The HA address others are told. */
  readonly haServerAddr: () => string;
  readonly storeHost: RecordHost;
  readonly clientsPort: ClientsPort;
  /** Told when puts are taken again by an operator's word. */
  readonly onUnfenced: () => void;
}

const BORN_HOST: RecordHost = { address: new Uint8Array([127, 0, 0, 1]), port: 0 };
/** Most bytes one read answers with, beyond its first message. */
const READ_BYTES_MAX = 8 * 1024 * 1024;

/** Implements {@link AdminPort} for a broker. */
export class BrokerAdmin implements AdminPort {
  readonly clients: ClientsPort;
  readonly #parts: BrokerAdminParts;
  readonly #startTimestamp: number;
  readonly #listeners = new Set<() => void>();
  #nextQueue = 0;

  constructor(parts: BrokerAdminParts) {
    this.#parts = parts;
    this.clients = parts.clientsPort;
    this.#startTimestamp = parts.runtime.clock.now();
  }

  /** Tells the listeners of {@link onStateChange}. */
  changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  status(): NodeStatus {
    const { config, runtime, version, store, masterDriver, roles, puts, addresses, haServerAddr } = this.#parts;
    const { service } = masterDriver;
    const now = runtime.clock.monotonic();
    const notWritableReason = puts.fencedReason ?? store.notWritableReason;
    return {
      brokerClusterName: config.brokerClusterName,
      brokerName: config.brokerName,
      brokerId: roles.brokerId,
      brokerRole: roles.role,
      version,
      runtime: `${runtime.name} ${runtime.version}`,
      startTimestamp: this.#startTimestamp,
      addresses: addresses(),
      namesrvs: this.#parts.namesrvStates().map(({ address, registered }) => ({ address, registered })),
      haServerAddr: haServerAddr(),
      writable: notWritableReason === null,
      notWritableReason,
      fenced: puts.fencedReason !== null,
      minOffset: store.minOffset,
      maxOffset: store.maxOffset,
      flushedOffset: store.flushedOffset,
      confirmOffset: store.confirmOffset,
      dispatchBehindBytes: store.dispatchBehindBytes,
      inSyncSlaveNums: service.inSyncSlaveNums(store.maxOffset),
      push2SlaveMaxOffset: service.push2SlaveMaxOffset,
      slaveFallBehindMuch: service.slaveFallBehindMuch(),
      slaves: service.connectionInfos(now).filter(isSlave),
      master: roles.role === "SLAVE" ? this.#masterStatus() : null,
    };
  }

  notReadyReason(): string | null {
    const { roles, config } = this.#parts;
    if (roles.role !== "SLAVE") return null;
    const master = this.#masterStatus();
    if (!master.verified) return `Not following a master: ${master.reason ?? `state is ${master.state}`}`;
    if (master.diff !== null && master.diff >= config.haMaxGapNotInSync) {
      return `${master.diff} bytes behind the master, wanted less than ${config.haMaxGapNotInSync}`;
    }
    return null;
  }

  onStateChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  switchRole(request: RoleRequest): Promise<AdminOutcome> {
    return this.#parts.roles.switchRole(request);
  }

  updateMasterAddress(address: string | null): Promise<AdminOutcome> {
    return this.#parts.roles.updateMasterAddress(address);
  }

  async setFenced(fenced: boolean): Promise<AdminOutcome> {
    const { puts, roles } = this.#parts;
    if (fenced && roles.role === "SLAVE") {
      return { type: "refused", reason: "Role is SLAVE, it takes no puts to hold off" };
    }
    puts.setFenced(fenced);
    if (!fenced) this.#parts.onUnfenced();
    this.changed();
    return { type: "done" };
  }

  async put(request: PutRequest): Promise<PutOutcome> {
    const { roles, topics, puts, config, storeHost, runtime } = this.#parts;
    const notStored = (status: PutMessageStatus, remark: string): PutOutcome => ({ status, remark, stored: null });
    if (roles.role === "SLAVE") {
      const { masterAddress } = roles;
      const known = masterAddress === null ? "none is known here" : `its HA address is ${masterAddress}`;
      return notStored(PutMessageStatus.SERVICE_NOT_AVAILABLE, `Role is SLAVE, put to the master (${known})`);
    }
    let topic = topics.selectTopicConfig(request.topic);
    if (topic === null) {
      if (!config.autoCreateTopicEnable) {
        return notStored(
          PutMessageStatus.SERVICE_NOT_AVAILABLE,
          `Topic "${request.topic}" does not exist and autoCreateTopicEnable is false`,
        );
      }
      try {
        topic = await topics.ensureTopic(request.topic, Math.min(4, config.defaultTopicQueueNums));
      } catch (error) {
        if (error instanceof RemotingError) return notStored(PutMessageStatus.MESSAGE_ILLEGAL, error.message);
        if (!(error instanceof IoError)) throw error;
        return notStored(
          PutMessageStatus.SERVICE_NOT_AVAILABLE,
          `Topic "${request.topic}" can't be saved: ${error.message}`,
        );
      }
    }
    const { writeQueueNums } = topic;
    const queueId = request.queueId ?? this.#nextQueue++ % Math.max(writeQueueNums, 1);
    if (queueId >= writeQueueNums) {
      return notStored(PutMessageStatus.MESSAGE_ILLEGAL, `queueId is ${queueId}, wanted 0 to ${writeQueueNums - 1}`);
    }
    const { status, append, remark } = await puts.putMessage({
      topic: request.topic,
      queueId,
      body: request.body,
      properties: request.properties,
      flag: request.flag,
      sysFlag: 0,
      bornTimestamp: runtime.clock.now(),
      bornHost: BORN_HOST,
      storeHost,
      reconsumeTimes: 0,
      preparedTransactionOffset: 0,
    });
    return {
      status,
      remark: remark === "" ? null : remark,
      stored: append && {
        msgId: append.msgIds[0]!,
        queueId,
        queueOffset: append.logicsOffset,
        physicalOffset: append.wroteOffset,
        storeSize: append.wroteBytes,
        storeTimestamp: append.storeTimestamp,
      },
    };
  }

  queues(topic: string): readonly QueueRange[] | null {
    const { store, topics } = this.#parts;
    const ids = new Set(store.queues().filter((queue) => queue.topic === topic).map((queue) => queue.queueId));
    const config = topics.selectTopicConfig(topic);
    for (let id = 0; id < (config?.readQueueNums ?? 0); id++) ids.add(id);
    if (ids.size === 0) return null;
    return [...ids].sort((a, b) => a - b).map((queueId) => ({
      queueId,
      minOffset: store.getMinOffsetInQueue(topic, queueId),
      maxOffset: store.getMaxOffsetInQueue(topic, queueId),
    }));
  }

  async readByQueueOffset(request: QueueReadRequest): Promise<QueueReadResult | null> {
    const { topic, queueId, offset, maxNum } = request;
    const range = this.queues(topic)?.find((queue) => queue.queueId === queueId);
    if (range === undefined) return null;
    const { messages, nextBeginOffset } = await this.#parts.store.getMessage(
      topic,
      queueId,
      offset,
      maxNum,
      READ_BYTES_MAX,
    );
    return { messages, nextOffset: nextBeginOffset, minOffset: range.minOffset, maxOffset: range.maxOffset };
  }

  async readByKey(request: KeyReadRequest): Promise<readonly StoredMessage[]> {
    const { topic, key, maxNum, begin, end } = request;
    return await this.#parts.store.queryMessage(topic, key, maxNum, begin, end);
  }

  offsetByTime(topic: string, queueId: number, timestamp: number): number | null {
    if (!this.queues(topic)?.some((queue) => queue.queueId === queueId)) return null;
    return this.#parts.store.getOffsetByTime(topic, queueId, timestamp);
  }

  async readById(msgId: string): Promise<StoredMessage | null> {
    return await this.#parts.store.lookMessageById(msgId);
  }

  onMessages(listener: () => void): () => void {
    return this.#parts.store.onDispatched(listener);
  }

  config(): Config {
    return this.#parts.config;
  }

  updateConfig(patch: Partial<Config>): void {
    applyConfigPatch(this.#parts.config, patch);
    if (Object.keys(patch).length > 0) this.#parts.masterDriver.onOptionsChanged();
    this.changed();
  }

  metricFigures(): readonly MetricFigure[] {
    return brokerFigures(this.#parts);
  }

  #masterStatus(): MasterStatus {
    const { clientDriver } = this.#parts;
    const status = clientDriver.status;
    return {
      masterAddr: status.masterAddress,
      state: status.connectionState,
      verified: status.verified,
      reason: status.reason === "" ? null : status.reason,
      remedy: status.remedy,
      masterMaxOffset: status.masterMaxOffset,
      diff: status.lagBytes,
      transferredByteInSecond: status.transferredByteInSecond,
      lastReadTimestamp: status.lastReadTimestamp,
      lastWriteTimestamp: status.lastWriteTimestamp,
    };
  }
}

/** A connection that never asked for anything is a guest, not a slave. */
function isSlave(slave: SlaveStatus): boolean {
  return slave.state !== HAConnectionState.HANDSHAKE;
}
