// Everything that serves producers and consumers, built once and wired here: who is connected, what they subscribe to, the
// processors of their requests, and the services that deliver what waits (delay levels, transactions, timers), which run
// on a master only. BrokerController makes it, tells it of role changes and ended connections, and stops it.

import { errorMessage } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { BrokerRole, Config } from "../config/schema.ts";
import type { RemotingConnection } from "../remoting/remoting_connection.ts";
import type { ProcessorTable } from "../remoting/remoting_server.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { MessageStore } from "../store/message_store.ts";
import type { MessageToPut, RecordHost } from "../store/types.ts";
import { Broker2Client } from "./client/broker2client.ts";
import { BroadcastOffsetManager } from "./client/broadcast_offset_manager.ts";
import { defaultConsumerIdsChangeListener } from "./client/consumer_ids_change_listener.ts";
import { ConsumerManager } from "./client/consumer_manager.ts";
import { ProducerManager } from "./client/producer_manager.ts";
import type { MessageQueue } from "./client/message_queue.ts";
import { RebalanceLockManager } from "./client/rebalance_lock_manager.ts";
import { ConsumerFilterManager } from "./filter/consumer_filter_manager.ts";
import { filterProcessors } from "./filter/filter_processors.ts";
import { type AdminPorts, adminProcessors } from "./processors/admin/admin_processors.ts";
import { clientManageProcessors } from "./processors/client_manage_processor.ts";
import { consumerManageProcessors } from "./processors/consumer_manage_processor.ts";
import { pullMessageProcessors } from "./processors/pull_message_processor.ts";
import { queryMessageProcessors } from "./processors/query_message_processor.ts";
import { endTransactionProcessors } from "./processors/end_transaction_processor.ts";
import { recallMessageProcessors } from "./processors/recall_message_processor.ts";
import { replyMessageProcessors } from "./processors/reply_message_processor.ts";
import { retryAndDLQ } from "./processors/retry_and_dlq.ts";
import { sendBackProcessors } from "./processors/send_back_processor.ts";
import { sendMessageProcessors } from "./processors/send_message_processor.ts";
import { PullRequestHoldService } from "./pull_request_hold_service.ts";
import type { PutMessageService } from "./put_message_service.ts";
import { ScheduleMessageService } from "./schedule/schedule_message_service.ts";
import type { ConfigManagers } from "./config_managers.ts";
import type { MessageCopy } from "./message_copy.ts";
import { BrokerStatsManager } from "./stats/broker_stats_manager.ts";
import { systemTopics } from "./system_topics.ts";
import { recallHandleOf } from "./timer/recall_handle.ts";
import { TimerMessageStore } from "./timer/timer_message_store.ts";
import { TimerMetrics } from "./timer/timer_metrics.ts";
import { TransactionalMessageService } from "./transaction/transactional_message_service.ts";

/** What it is made of. */
export interface BrokerServicesParts {
  readonly config: Config;
  readonly runtime: Runtime;
  readonly logger: Logger;
  readonly store: MessageStore;
  readonly puts: PutMessageService;
  readonly managers: ConfigManagers;
  /** `<storePathRootDir>/config`. */
  readonly configDirectory: string;
  readonly storeHost: RecordHost;
  readonly role: () => BrokerRole;
  /** Whether the master of this slave is there. */
  readonly isMasterAlive: () => boolean;
  /** Lowest log offset that the connected slaves hold, null without one. */
  readonly replicatedOffset: () => number | null;
  /** A topic's readable queues on all brokers, from the NameServers; null: no such topic. */
  readonly topicSubscribeInfo: (topic: string) => Promise<readonly MessageQueue[] | null>;
  /** What administrators reach of the rest of the node. */
  readonly admin: Pick<AdminPorts, "updateConfig" | "onPermissionChanged" | "effective" | "registered" | "brokerAddr">;
  readonly onFatal: (error: unknown) => void;
}

/** Mirrors what Apache's `BrokerController` builds beside its store. */
export class BrokerServices {
  readonly consumers: ConsumerManager;
  readonly producers: ProducerManager;
  readonly locks: RebalanceLockManager;
  readonly broker2Client: Broker2Client;
  readonly filters: ConsumerFilterManager;
  readonly broadcastOffsets: BroadcastOffsetManager;
  readonly schedule: ScheduleMessageService;
  readonly transactions: TransactionalMessageService;
  readonly timer: TimerMessageStore;
  readonly timerMetrics: TimerMetrics;
  readonly holds: PullRequestHoldService;
  readonly stats: BrokerStatsManager;
  readonly #parts: BrokerServicesParts;
  /** Starts and stops of the services that a master runs, one after another. */
  #changing: Promise<void> = Promise.resolve();
  /** null before the first role is in force. */
  #isMaster: boolean | null = null;

  constructor(parts: BrokerServicesParts) {
    this.#parts = parts;
    const { config, runtime, logger, store, managers } = parts;
    const { clock, fs } = runtime;
    const offsets = managers.consumerOffsetManager;
    this.filters = new ConsumerFilterManager({ fs, clock, logger, directory: parts.configDirectory, config });
    this.filters.load();
    this.broker2Client = new Broker2Client({ logger, consumers: () => this.consumers, brokerName: config.brokerName });
    const listener = defaultConsumerIdsChangeListener({
      broker2Client: this.broker2Client,
      filters: this.filters,
      config,
    });
    this.consumers = new ConsumerManager({ clock, logger, config, listener });
    this.producers = new ProducerManager({ clock, logger, config });
    this.locks = new RebalanceLockManager({ clock });
    offsets.setQueueEnds((topic, queueId) => store.getMaxOffsetInQueue(topic, queueId));
    this.broadcastOffsets = new BroadcastOffsetManager({
      clock,
      config,
      offsets,
      isOnline: (group, clientId) => this.consumers.findChannel(group, clientId) !== null,
      initialOffset: (topic, queueId) => initialOffset(store, topic, queueId),
    });
    const ownPuts = putsOfServices(parts);
    const onDelivered = ({ topic, queueId }: MessageToPut, wroteBytes: number) =>
      this.stats.put(topic, queueId, 1, wroteBytes, clock.now());
    this.schedule = new ScheduleMessageService({
      store,
      puts: ownPuts,
      offsets: managers.delayOffsetManager,
      clock,
      logger,
      config,
      replicatedOffset: parts.replicatedOffset,
      onFatal: parts.onFatal,
      onDelivered,
    });
    this.transactions = new TransactionalMessageService({
      store,
      puts: ownPuts,
      offsets,
      producers: this.producers,
      broker2Client: this.broker2Client,
      topics: managers.topicConfigManager,
      clock,
      random: runtime.random,
      logger,
      config,
      storeHost: parts.storeHost,
      replicatedOffset: parts.replicatedOffset,
      onFatal: parts.onFatal,
      onCommitted: ({ topic, queueId }, { wroteBytes, storeTimestamp }) =>
        this.stats.put(topic, queueId, 1, wroteBytes, storeTimestamp),
    });
    this.holds = new PullRequestHoldService({ clock, store });
    this.stats = new BrokerStatsManager({
      clock,
      logger,
      config,
      disableConsume: (group) => managers.subscriptionGroupManager.disableConsume(group),
    });
    this.timerMetrics = new TimerMetrics({ fs, clock, logger, directory: parts.configDirectory });
    this.timerMetrics.load();
    this.timer = new TimerMessageStore({
      fs,
      clock,
      random: runtime.random,
      logger,
      store,
      puts: ownPuts,
      metrics: this.timerMetrics,
      config,
      configDirectory: parts.configDirectory,
      replicatedOffset: parts.replicatedOffset,
      onFatal: parts.onFatal,
      onDelivered,
    });
  }

  /** Everything that clients ask, by code. */
  processors(): ProcessorTable {
    const { config, runtime, logger, store, puts, managers, storeHost } = this.#parts;
    const { clock, random } = runtime;
    const now = () => clock.now();
    const { stats, holds, broadcastOffsets } = this;
    const { topicConfigManager: topics, consumerOffsetManager: offsets, subscriptionGroupManager: groups } = managers;
    const { consumers, producers, locks, filters } = this;
    const isSlave = () => this.#parts.role() === "SLAVE";
    return new Map([
      ...sendMessageProcessors({
        config,
        topics,
        puts,
        stats,
        random,
        now,
        storeHost,
        rejectReason: () => isSlave() ? "This broker is a slave, send to its master" : null,
        retryAndDLQ: retryAndDLQ({ groups, topics, locks }),
        prepareHalfMessage: (message) => this.transactions.prepareHalfMessage(message),
        recallHandleOf: (message) => recallHandleOf(message, config.brokerName),
      }),
      ...sendBackProcessors({ config, groups, topics, store, puts, storeHost, random, isSlave, stats }),
      ...pullMessageProcessors({
        clock,
        config,
        topics,
        groups,
        consumers,
        filters,
        offsets,
        broadcastOffsets,
        store,
        holds,
        stats,
        isSlave,
        isMasterAlive: this.#parts.isMasterAlive,
      }),
      ...recallMessageProcessors({ config, topics, puts, storeHost, isSlave, now, stats }),
      ...queryMessageProcessors({ config, store }),
      ...replyMessageProcessors({ config, topics, puts, stats, producers, random, now, storeHost, logger }),
      ...endTransactionProcessors({ clock, logger, transactions: this.transactions }),
      ...clientManageProcessors({ clock, config, producers, consumers, groups, topics }),
      ...consumerManageProcessors({
        config,
        consumers,
        groups,
        topics,
        offsets,
        store,
        locks,
        modes: managers.messageRequestModeManager,
        topicSubscribeInfo: this.#parts.topicSubscribeInfo,
      }),
      ...filterProcessors({ config, filters }),
      ...adminProcessors({
        config,
        clock,
        logger,
        topics,
        groups,
        offsets,
        consumers,
        producers,
        filters,
        stats,
        timerMetrics: this.timerMetrics,
        broker2Client: this.broker2Client,
        store,
        systemTopicNames: new Set(systemTopics(config).map((topic) => topic.topicName)),
        isSlave,
        ...this.#parts.admin,
      }),
    ]);
  }

  /** Keys of GET_BROKER_RUNTIME_INFO that these services know. */
  runtimeInfo(): Record<string, string> {
    return { ...this.stats.runtimeInfo(), ...this.schedule.runningStats(), ...this.timer.runningStats() };
  }

  /** A client's connection ended. */
  onConnectionClosed(connection: RemotingConnection): void {
    this.consumers.onConnectionClosed(connection);
    this.producers.onConnectionClosed(connection);
    this.holds.onConnectionClosed(connection);
  }

  /**
   * Starts what only a master does, or stops it: at once where nothing may be put any more, and one change after another.
   * Resolves once it is done.
   */
  setMaster(isMaster: boolean): Promise<void> {
    if (isMaster === this.#isMaster) return this.#changing;
    this.#isMaster = isMaster;
    // Who may be served here is another question now.
    this.holds.wakeAll();
    this.#changing = this.#changing.then(async () => {
      // The last word counts where one change overtook another.
      if (this.#isMaster !== isMaster) return;
      const services = [this.schedule, this.transactions, this.timer];
      if (isMaster) services.forEach((service) => service.start());
      else await Promise.all([this.schedule.stop(), this.transactions.stop(), this.timer.follow()]);
    }).catch((error: unknown) => {
      this.#parts.logger.error(`Starting or stopping a service failed: ${errorMessage(error)}`);
    });
    return this.#changing;
  }

  /** Stops everything and writes what is to be written. */
  async stop(): Promise<void> {
    this.holds.stop();
    await this.setMaster(false);
    await this.timer.stop();
    this.broadcastOffsets.stop();
    const { consumerOffsetManager } = this.#parts.managers;
    await Promise.all([consumerOffsetManager.stop(), this.filters.stop()]);
  }
}

/**
 * What a service puts names this broker, whoever stored it before. Two masters of one moment would write the same bytes
 * else, and logs that have parted would agree again further on. (Apache keeps the first broker's name.) A topic or queue
 * that a promoted slave never heard of is made, for its consumers to be served.
 */
function putsOfServices({ puts, managers, storeHost }: BrokerServicesParts): Pick<PutMessageService, "putMessage"> {
  const { topicConfigManager: topics } = managers;
  return {
    putMessage: (message: MessageToPut & Partial<Pick<MessageCopy, "since">>, options) => {
      topics.restoreTopic(message.topic, message.queueId, message.since ?? message.bornTimestamp);
      return puts.putMessage({ ...message, storeHost }, options);
    },
  };
}

/** A broadcast client without a past begins at the first message while that is in memory, else at the end. */
function initialOffset(store: MessageStore, topic: string, queueId: number): number {
  const [first] = store.readConsumeQueue(topic, queueId, 0, 1);
  const isYoung = first !== undefined && store.getMinOffsetInQueue(topic, queueId) <= 0 && store.isInMemory(first.pos);
  return isYoung ? 0 : store.getMaxOffsetInQueue(topic, queueId);
}
