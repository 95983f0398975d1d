// What tests of clients share: a connection that notes what is sent on it, subscriptions, and a broker's side of clients
// put together as the broker does it.

import type { LogFields } from "../../../src/base/logger.ts";
import { Broker2Client } from "../../../src/broker/client/broker2client.ts";
import type { ClientChannelInfo } from "../../../src/broker/client/client_channel_info.ts";
import type { ConsumerTraits } from "../../../src/broker/client/consumer_group_info.ts";
import { defaultConsumerIdsChangeListener } from "../../../src/broker/client/consumer_ids_change_listener.ts";
import { ConsumerManager } from "../../../src/broker/client/consumer_manager.ts";
import { ProducerManager } from "../../../src/broker/client/producer_manager.ts";
import type { SubscriptionData } from "../../../src/broker/filter/subscription_data.ts";
import type { RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { RemotingConnection } from "../../../src/remoting/remoting_connection.ts";
import type { Clock } from "../../../src/runtime/runtime.ts";
import { MemoryLogger } from "../../support/ha_options.ts";

/** The part of a RemotingConnection that is used on clients. */
export class FakeConnection {
  readonly remoteAddress: string;
  closed = false;
  outboundBytes = 0;
  readonly sent: RemotingCommand[] = [];
  /** Answers `invoke`; by default nobody does. */
  answer: (request: RemotingCommand, timeoutMs: number) => Promise<RemotingCommand> = () => new Promise(() => {});
  onClose: () => void = () => {};

  constructor(remoteAddress: string) {
    this.remoteAddress = remoteAddress;
  }

  invokeOneway(request: RemotingCommand): void {
    if (this.closed) throw new Error("Sent on a closed connection");
    this.sent.push(request);
  }

  invoke(request: RemotingCommand, timeoutMs: number): Promise<RemotingCommand> {
    this.sent.push(request);
    return this.answer(request, timeoutMs);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.onClose();
  }

  /** Takes what was sent, as `code group`. */
  takeSent(): string[] {
    return this.sent.splice(0).map(({ code, extFields }) => `${code} ${extFields.get("consumerGroup") ?? ""}`.trim());
  }

  get asConnection(): RemotingConnection {
    return this as unknown as RemotingConnection;
  }
}

export const PUSH: ConsumerTraits = {
  consumeType: "CONSUME_PASSIVELY",
  messageModel: "CLUSTERING",
  consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
};

export function info(connection: FakeConnection, clientId: string, version = 479): ClientChannelInfo {
  return { connection: connection.asConnection, clientId, language: "JAVA", version, lastUpdateTimestamp: 0 };
}

export function subscription(topic: string, subVersion = 1, subString = "*"): SubscriptionData {
  return {
    topic,
    subString,
    tagsSet: [],
    codeSet: [],
    subVersion,
    expressionType: "TAG",
    classFilterMode: false,
  };
}

/** The managers as a broker wires them. `filters` notes what the filters are told. */
export function managers(clock: Clock, changes: { notifyConsumerIdsChangedEnable?: boolean } = {}) {
  const logger = new MemoryLogger();
  const filters: string[] = [];
  const config = {
    channelExpiredTimeout: 120_000,
    subscriptionExpiredTimeout: 600_000,
    notifyConsumerIdsChangedEnable: true,
    ...changes,
  };
  const broker2Client = new Broker2Client({ logger, consumers: () => consumers, brokerName: "b" });
  const consumers: ConsumerManager = new ConsumerManager({
    clock,
    logger,
    config,
    listener: defaultConsumerIdsChangeListener({
      broker2Client,
      config,
      filters: {
        register: (group, subs) => void filters.push(`register ${group} ${subs.map((sub) => sub.topic).join()}`),
        unRegister: (group) => void filters.push(`unRegister ${group}`),
      },
    }),
  });
  const producers = new ProducerManager({ clock, logger, config });
  return { logger, filters, config, broker2Client, consumers, producers };
}

/** A connection whose end the managers hear of. */
export function connect(to: ReturnType<typeof managers>, remoteAddress: string): FakeConnection {
  const connection = new FakeConnection(remoteAddress);
  connection.onClose = () => {
    to.consumers.onConnectionClosed(connection.asConnection);
    to.producers.onConnectionClosed(connection.asConnection);
  };
  return connection;
}

/** Fields of the lines with this message. */
export function fieldsOf(logger: MemoryLogger, message: string): LogFields[] {
  return logger.lines.filter((line) => line.message === message).map((line) => line.fields);
}
