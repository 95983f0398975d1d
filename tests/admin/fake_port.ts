// A node as the admin API sees it, of plain fields: tests set what it answers and read what it was asked.

import type {
  AdminOutcome,
  AdminPort,
  KeyReadRequest,
  MetricFigure,
  NodeStatus,
  PutOutcome,
  PutRequest,
  QueueRange,
  QueueReadRequest,
  QueueReadResult,
  RoleRequest,
  SlaveStatus,
} from "../../src/admin/admin_port.ts";
import type { ClientsPort, GroupDetail, TopicView } from "../../src/admin/clients_port.ts";
import { applyConfigPatch, createConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import type { RecordHost, StoredMessage } from "../../src/store/types.ts";

/** Topics and groups of plain fields. */
export class FakeClients implements ClientsPort {
  /** What every change answers. */
  outcome: AdminOutcome = { type: "done" };
  readonly asked: unknown[] = [];
  readonly topic: TopicView = {
    topic: "T",
    readQueueNums: 4,
    writeQueueNums: 4,
    perm: 6,
    topicFilterType: "SINGLE_TAG",
    order: false,
    attributes: {},
    system: false,
    messages: 12,
  };
  readonly detail: GroupDetail = {
    group: "G",
    consumeType: "CONSUME_PASSIVELY",
    messageModel: "CLUSTERING",
    clients: 1,
    topics: ["T"],
    diffTotal: 3,
    retryMaxTimes: 16,
    consumeEnable: true,
    members: [{ clientId: "c", address: "10.0.0.9:1", language: "JAVA", version: "V5_3_3", lastUpdateTimestamp: 5 }],
    subscriptions: [{ topic: "T", type: "TAG", expression: "*" }],
    progress: [{ topic: "T", queueId: 0, brokerOffset: 12, consumerOffset: 9, diff: 3 }],
  };

  topics() {
    return [this.topic];
  }
  updateTopic(change: unknown) {
    this.asked.push(change);
    return this.outcome;
  }
  deleteTopic(topic: string) {
    this.asked.push(topic);
    return topic === "T" ? this.outcome : null;
  }
  groups() {
    const { members: _members, subscriptions: _subscriptions, progress: _progress, ...view } = this.detail;
    return [view];
  }
  group(group: string) {
    return group === "G" ? this.detail : null;
  }
  deleteGroup(group: string) {
    this.asked.push(group);
    return group === "G" ? this.outcome : null;
  }
  resetOffset(reset: unknown) {
    this.asked.push(reset);
    return this.outcome;
  }
  producers() {
    return [{ group: "P", members: this.detail.members }];
  }
  namesrv() {
    return {
      address: "127.0.0.1:9876",
      topics: 2,
      brokers: [{ cluster: "C", brokerName: "b", addresses: { "0": "x:1" } }],
    };
  }
}

/** A slave's figures. */
export function slaveStatus(changes: Partial<SlaveStatus> = {}): SlaveStatus {
  return {
    addr: "10.0.0.2:40000",
    state: "TRANSFER",
    slaveRequestOffset: 0,
    slaveAckOffset: 900,
    transferFromWhere: 1000,
    diff: 100,
    inSync: true,
    reason: null,
    transferredByteInSecond: 50,
    ...changes,
  };
}

/** A node's figures; a master unless changed. */
export function nodeStatus(changes: Partial<NodeStatus> = {}): NodeStatus {
  return {
    brokerClusterName: "DefaultCluster",
    brokerName: "broker-a",
    brokerId: 0,
    brokerRole: "ASYNC_MASTER",
    version: "0.1.0",
    runtime: "node 24.0.0",
    startTimestamp: 1_700_000_000_000,
    addresses: {
      remoting: "0.0.0.0:10911",
      vip: "0.0.0.0:10909",
      ha: "0.0.0.0:10912",
      admin: "127.0.0.1:10913",
      advertised: "10.0.0.1:10911",
      namesrv: "0.0.0.0:9876",
    },
    namesrvs: [{ address: "127.0.0.1:9876", registered: true }, { address: "ns2:9876", registered: false }],
    haServerAddr: "10.0.0.1:10912",
    writable: true,
    notWritableReason: null,
    fenced: false,
    minOffset: 0,
    maxOffset: 1000,
    flushedOffset: 800,
    confirmOffset: 1000,
    dispatchBehindBytes: 10,
    inSyncSlaveNums: 1,
    push2SlaveMaxOffset: 900,
    slaveFallBehindMuch: 100,
    slaves: [slaveStatus()],
    master: null,
    ...changes,
  };
}

/** A following slave's figures. */
export function followingStatus(changes: Partial<NodeStatus> = {}): NodeStatus {
  return nodeStatus({
    brokerRole: "SLAVE",
    brokerId: 1,
    writable: false,
    notWritableReason: "Role is SLAVE",
    slaves: [],
    slaveFallBehindMuch: null,
    master: {
      masterAddr: "10.0.0.1:10912",
      state: "TRANSFER",
      verified: true,
      reason: null,
      remedy: null,
      masterMaxOffset: 1000,
      diff: 0,
      transferredByteInSecond: 0,
      lastReadTimestamp: 1_700_000_000_000,
      lastWriteTimestamp: 1_700_000_000_000,
    },
    ...changes,
  });
}

const HOST: RecordHost = { address: new Uint8Array([127, 0, 0, 1]), port: 10911 };

/** A stored message. */
export function storedMessage(
  queueOffset: number,
  body: Uint8Array | string,
  changes: Partial<StoredMessage> = {},
): StoredMessage {
  return {
    topic: "T",
    queueId: 0,
    body: typeof body === "string" ? new TextEncoder().encode(body) : body,
    properties: new Map([["TAGS", "a"]]),
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1,
    bornHost: HOST,
    storeHost: HOST,
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
    storeSize: 100,
    bodyCrc: 0,
    queueOffset,
    physicalOffset: queueOffset * 100,
    storeTimestamp: 2,
    msgId: `7F00000100002A9F${queueOffset.toString(16).padStart(16, "0")}`.toUpperCase(),
    ...changes,
  };
}

/** The fake. One topic, "T", with one queue of {@link messages}. */
export class FakePort implements AdminPort {
  readonly clients = new FakeClients();
  figures: NodeStatus = nodeStatus();
  notReady: string | null = null;
  outcome: AdminOutcome = { type: "done" };
  putOutcome: PutOutcome | null = null;
  messages: StoredMessage[] = [];
  extraFigures: MetricFigure[] = [];
  readonly asked: unknown[] = [];
  readonly stateListeners = new Set<() => void>();
  readonly messageListeners = new Set<() => void>();
  readonly #config: Config =
    createConfig({}, { hostname: "box", localAddress: "10.0.0.1", env: () => undefined }).config;

  status(): NodeStatus {
    return this.figures;
  }
  notReadyReason(): string | null {
    return this.notReady;
  }
  onStateChange(listener: () => void): () => void {
    this.stateListeners.add(listener);
    return () => this.stateListeners.delete(listener);
  }
  switchRole(request: RoleRequest): Promise<AdminOutcome> {
    this.asked.push(request);
    return Promise.resolve(this.outcome);
  }
  updateMasterAddress(address: string | null): Promise<AdminOutcome> {
    this.asked.push({ address });
    return Promise.resolve(this.outcome);
  }
  setFenced(fenced: boolean): Promise<AdminOutcome> {
    this.asked.push({ fenced });
    if (this.outcome.type === "done") this.figures = { ...this.figures, fenced };
    return Promise.resolve(this.outcome);
  }
  put(request: PutRequest): Promise<PutOutcome> {
    this.asked.push(request);
    if (this.putOutcome !== null) return Promise.resolve(this.putOutcome);
    const message = storedMessage(this.messages.length, request.body, {
      topic: request.topic,
      properties: request.properties,
    });
    this.add(message);
    const { msgId, queueId, queueOffset, physicalOffset, storeSize, storeTimestamp } = message;
    const stored = { msgId, queueId, queueOffset, physicalOffset, storeSize, storeTimestamp };
    return Promise.resolve({ status: "PUT_OK", remark: null, stored });
  }
  /** A message becomes readable. */
  add(message: StoredMessage): void {
    this.messages.push(message);
    for (const listener of [...this.messageListeners]) listener();
  }
  queues(topic: string): QueueRange[] | null {
    return topic === "T" ? [{ queueId: 0, minOffset: 0, maxOffset: this.messages.length }] : null;
  }
  readByQueueOffset({ topic, queueId, offset, maxNum }: QueueReadRequest): Promise<QueueReadResult | null> {
    if (topic !== "T" || queueId !== 0) return Promise.resolve(null);
    const messages = this.messages.slice(offset, offset + maxNum);
    return Promise.resolve({
      messages,
      nextOffset: offset + messages.length,
      minOffset: 0,
      maxOffset: this.messages.length,
    });
  }
  readByKey(request: KeyReadRequest): Promise<StoredMessage[]> {
    this.asked.push(request);
    return Promise.resolve(this.messages.filter((message) => message.properties.get("KEYS") === request.key));
  }
  offsetByTime(topic: string, queueId: number, timestamp: number): number | null {
    if (topic !== "T" || queueId !== 0) return null;
    const at = this.messages.findIndex((message) => message.storeTimestamp >= timestamp);
    return at < 0 ? this.messages.length : at;
  }
  readById(msgId: string): Promise<StoredMessage | null> {
    return Promise.resolve(this.messages.find((message) => message.msgId === msgId) ?? null);
  }
  onMessages(listener: () => void): () => void {
    this.messageListeners.add(listener);
    return () => this.messageListeners.delete(listener);
  }
  config(): Config {
    return this.#config;
  }
  updateConfig(patch: Partial<Config>): void {
    applyConfigPatch(this.#config, patch);
  }
  metricFigures(): MetricFigure[] {
    return this.extraFigures;
  }
}
