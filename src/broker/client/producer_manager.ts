// Which producers are there, by group and connection, from heartbeats. Transaction checks and replies find the
// connection of a producer here. Driven by the heartbeat processor and by connections that end.

import type { Logger } from "../../base/logger.ts";
import type { Config } from "../../config/schema.ts";
import type { RemotingConnection } from "../../remoting/remoting_connection.ts";
import type { Clock } from "../../runtime/runtime.ts";
import type { ClientChannelInfo } from "./client_channel_info.ts";
import { ClientTable } from "./client_table.ts";

/** What a {@link ProducerManager} needs. */
export interface ProducerManagerOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: Pick<Config, "channelExpiredTimeout">;
}

/** Bytes waiting for a producer that make it count as busy. Netty's high water mark is 64 KiB. */
const WRITABLE_BYTES_MAX = 64 * 1024;

/** Mirrors Apache's `ProducerManager`. */
export class ProducerManager {
  readonly #options: ProducerManagerOptions;
  readonly #clients: ClientTable;
  /** Where a client was registered last. */
  readonly #byClientId = new Map<string, ClientChannelInfo>();
  #turn = 0;

  constructor(options: ProducerManagerOptions) {
    this.#options = options;
    const { clock, config } = options;
    this.#clients = new ClientTable({
      clock,
      expiredTimeoutMs: () => config.channelExpiredTimeout,
      onExpired: (group, channel) => this.#expired(group, channel),
    });
  }

  /** Members of every group. A copy. */
  groups(): ReadonlyMap<string, readonly ClientChannelInfo[]> {
    return new Map(Array.from(this.#clients.groups, ([group, members]) => [group, [...members.values()]]));
  }

  /** Members of one group; none when it is unknown. */
  channels(group: string): readonly ClientChannelInfo[] {
    return [...this.#clients.members(group)?.values() ?? []];
  }

  /**
   * The group's next member in turn, one that is busy reading only when no other is there; null without an open one.
   */
  getAvailableChannel(group: string): ClientChannelInfo | null {
    const channels = this.channels(group);
    let busy: ClientChannelInfo | null = null;
    for (let tried = 0; tried < channels.length; tried++) {
      const channel = channels[this.#turn++ % channels.length]!;
      if (channel.connection.closed) continue;
      if (channel.connection.outboundBytes <= WRITABLE_BYTES_MAX) return channel;
      busy = channel;
    }
    return busy;
  }

  /** The producer that calls itself so, in any group; null when there is none. */
  findChannel(clientId: string): ClientChannelInfo | null {
    return this.#byClientId.get(clientId) ?? null;
  }

  /** A heartbeat. Throws `RemotingError` `SYSTEM_BUSY` when too many clients are registered. */
  registerProducer(group: string, info: ClientChannelInfo): void {
    const { clientId, connection } = info;
    const before = this.#clients.members(group)?.get(connection);
    const registration = this.#clients.put(group, info);
    if (registration === "known") return;
    if (before !== undefined) this.#forget(before);
    this.#byClientId.set(clientId, info);
    this.#options.logger.debug("Producer connected", { group, clientId, remote: connection.remoteAddress });
  }

  /** A client says goodbye. */
  unregisterProducer(group: string, info: Pick<ClientChannelInfo, "connection">): void {
    const channel = this.#clients.remove(group, info.connection);
    if (channel !== null) this.#removed(group, channel, "Producer left");
  }

  /** A connection ended: what was registered on it is gone. */
  onConnectionClosed(connection: RemotingConnection): void {
    for (const group of this.#clients.groupsOf(connection)) this.unregisterProducer(group, { connection });
  }

  #expired(group: string, channel: ClientChannelInfo): void {
    this.#removed(group, channel, "Producer expired, no heartbeat came");
    channel.connection.close("idle", "No heartbeat came of its producer");
  }

  #removed(group: string, channel: ClientChannelInfo, message: string): void {
    const { clientId, connection } = channel;
    this.#options.logger.debug(message, { group, clientId, remote: connection.remoteAddress });
    this.#forget(channel);
  }

  /** A client is found by its id as long as it is in any group. */
  #forget({ clientId, connection }: ClientChannelInfo): void {
    const isElsewhere = this.#clients.groupsOf(connection).some((other) =>
      this.#clients.members(other)?.get(connection)?.clientId === clientId
    );
    if (!isElsewhere && this.#byClientId.get(clientId)?.connection === connection) this.#byClientId.delete(clientId);
  }
}
