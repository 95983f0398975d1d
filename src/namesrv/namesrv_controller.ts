// The NameServer at work: its port, the timer that looks for silent brokers, the notices it sends. Alone by
// `--role namesrv`, or inside a broker; both call startNamesrv. What it answers and decides is in the files beside it.

import { LineLimiter } from "../base/line_limiter.ts";
import type { Logger } from "../base/logger.ts";
import type { HeldBytes } from "../remoting/held_bytes.ts";
import { invokeErrorText, RemotingClient } from "../remoting/remoting_client.ts";
import { createRequest } from "../remoting/remoting_command.ts";
import type { RemotingConnection } from "../remoting/remoting_connection.ts";
import {
  type RemotingCloseCounts,
  type RemotingLimits,
  RemotingServer,
  type RemotingServerOptions,
  type RemotingTls,
} from "../remoting/remoting_server.ts";
import { RequestCode } from "../remoting/request_code.ts";
import type { NetAddress, Runtime, Timer, TlsClientOptions } from "../runtime/runtime.ts";
import { brokerProcessors } from "./broker_processors.ts";
import { KVConfigManager } from "./kv_config_manager.ts";
import { type NamesrvConfiguration, namesrvProcessors, type NamesrvProcessorsConfig } from "./namesrv_processors.ts";
import { type RouteInfoConfig, RouteInfoManager } from "./route_info_manager.ts";
import type { MinBrokerIdNotice } from "./route_types.ts";
import type { ClusterInfo } from "./route_types.ts";

/** Keys of the configuration used here. Those that may change are read at each use. */
export interface NamesrvConfig extends RouteInfoConfig, NamesrvProcessorsConfig, RemotingLimits {
  readonly kvConfigPath: string;
  readonly returnOrderTopicConfigToBroker: boolean;
  /** Least time between two looks for brokers that fell silent, ms. */
  readonly scanNotActiveBrokerInterval: number;
}

/** What {@link startNamesrv} needs. */
export interface NamesrvOptions {
  readonly config: NamesrvConfig;
  readonly runtime: Pick<Runtime, "net" | "clock" | "fs">;
  readonly logger: Logger;
  /** Address to bind; port 0 for any free one. */
  readonly hostname: string;
  readonly port: number;
  /** What mqadmin reads and changes. */
  readonly configuration: NamesrvConfiguration;
  /** Of the node; unset: one of its own. */
  readonly heldBytes?: HeldBytes;
  /** Of its port, and of its connections to brokers; unset: plain ones, and none. */
  readonly tls?: RemotingTls;
  readonly clientTls?: TlsClientOptions | null;
  /** Logs the KV configuration after a minute and then every ten, as Apache does. */
  readonly printsKvConfig?: boolean;
}

/** What a NameServer holds and does, for metrics and the admin API. */
export interface NamesrvFigures {
  /** Registered brokers, masters and slaves. */
  readonly brokers: number;
  readonly brokerNames: number;
  readonly clusters: number;
  readonly topics: number;
  /** Pairs of topic and broker name. */
  readonly queueDatas: number;
  /** Memory of topics, about, bytes. */
  readonly topicBytes: number;
  readonly kvEntries: number;
  readonly connections: number;
  readonly heldBytes: number;
  /** Since the start. */
  readonly requests: number;
  readonly closes: RemotingCloseCounts;
}

/** A running NameServer. */
export interface Namesrv {
  readonly address: NetAddress;
  figures(): NamesrvFigures;
  /** The brokers it knows. */
  clusterInfo(): ClusterInfo;
  /** Closes its port and connections; what is being written is finished. Idempotent. */
  stop(): Promise<void>;
}

/** Starts a NameServer. Throws `IoError` `inUse`, `permission`, `other` when it can't listen. */
export async function startNamesrv(options: NamesrvOptions): Promise<Namesrv> {
  const controller = new NamesrvController(options);
  await controller.start();
  return controller;
}

/** The first and further lines of log about the KV configuration, ms. */
const PRINT_FIRST_MS = 60_000;
const PRINT_EACH_MS = 600_000;
/** Longest sleep between two looks: a broker may name any time. */
const SCAN_SLEEP_MAX_MS = 3_600_000;
/** What a notice may take, as in Apache. */
const NOTICE_TIMEOUT_MS = 300;

/** Mirrors Apache's `NamesrvController`. */
class NamesrvController implements Namesrv {
  address: NetAddress;
  readonly #options: NamesrvOptions;
  readonly #routes: RouteInfoManager<RemotingConnection>;
  readonly #kvConfig: KVConfigManager;
  readonly #server: RemotingServer;
  readonly #client: RemotingClient;
  readonly #lines = new LineLimiter();
  #scanTimer: Timer | null = null;
  #scanAt = Infinity;
  #printTimer: Timer | null = null;
  #stopped = false;

  constructor(options: NamesrvOptions) {
    const { config, runtime, logger, hostname, port, heldBytes } = options;
    this.#options = options;
    this.address = { hostname, port };
    this.#routes = new RouteInfoManager({
      config,
      onMinBrokerIdChanged: (notice) => void this.#notify(notice),
    });
    this.#kvConfig = new KVConfigManager({ fs: runtime.fs, logger, kvConfigPath: config.kvConfigPath });
    const { net, clock } = runtime;
    const ports = { config, clock, logger, routes: this.#routes, kvConfig: this.#kvConfig };
    const processors: RemotingServerOptions["processors"] = new Map([
      ...brokerProcessors({ ...ports, onRegistered: (expiresAt) => this.#scanNotAfter(expiresAt) }),
      ...namesrvProcessors({ ...ports, configuration: options.configuration }),
    ]);
    this.#server = new RemotingServer({
      net,
      clock,
      logger,
      processors,
      hostname,
      port,
      limits: config,
      ...(heldBytes === undefined ? {} : { heldBytes }),
      ...(options.tls === undefined ? {} : { tls: options.tls }),
      onConnectionClosed: (connection) => this.#onConnectionClosed(connection),
    });
    this.#client = new RemotingClient({ net, clock, tls: options.clientTls ?? null });
  }

  async start(): Promise<void> {
    this.#kvConfig.load();
    this.address = await this.#server.start();
    if (this.#options.printsKvConfig === true) this.#printLater(PRINT_FIRST_MS);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#scanTimer?.cancel();
    this.#printTimer?.cancel();
    await this.#server.stop();
    this.#client.close();
    await this.#kvConfig.idle();
  }

  figures(): NamesrvFigures {
    return {
      ...this.#routes.figures,
      kvEntries: this.#kvConfig.size,
      connections: this.#server.connectionCount,
      heldBytes: this.#server.heldBytes,
      requests: this.#server.requestCount,
      closes: this.#server.closeCounts,
    };
  }

  clusterInfo(): ClusterInfo {
    return this.#routes.getAllClusterInfo();
  }

  #onConnectionClosed(connection: RemotingConnection): void {
    if (this.#stopped) return;
    for (const { clusterName, brokerAddr } of this.#routes.onConnectionClosed(connection)) {
      this.#say("Broker's connection ended, it is unregistered", { clusterName, brokerAddr });
    }
  }

  /** One timer for the next broker that may fall silent; none without brokers. */
  #scanNotAfter(expiresAt: number): void {
    if (this.#stopped || expiresAt >= this.#scanAt) return;
    this.#scanTimer?.cancel();
    const { clock } = this.#options.runtime;
    const now = clock.monotonic();
    const least = Math.max(this.#options.config.scanNotActiveBrokerInterval, Math.floor(expiresAt - now) + 1);
    const delayMs = Math.min(least, SCAN_SLEEP_MAX_MS);
    this.#scanAt = now + delayMs;
    this.#scanTimer = clock.setTimer(delayMs, () => this.#scanNotActiveBroker());
  }

  #scanNotActiveBroker(): void {
    for (const live of this.#routes.scanNotActiveBroker(this.#options.runtime.clock.monotonic())) {
      const { clusterName, brokerAddr, timeoutMs, connection } = live;
      this.#say(`Broker was not heard for ${timeoutMs} ms, it is unregistered`, { clusterName, brokerAddr });
      connection.close("idle", `The broker ${brokerAddr} was not heard for ${timeoutMs} ms`);
    }
    this.#scanAt = Infinity;
    const next = this.#routes.nextExpiry();
    if (next !== null) this.#scanNotAfter(next);
  }

  #say(message: string, fields: { readonly clusterName: string; readonly brokerAddr: string }): void {
    const repeated = this.#lines.admit(`${message} ${fields.brokerAddr}`, this.#options.runtime.clock.monotonic());
    if (repeated !== null) this.#options.logger.warn(message, { ...fields, repeated });
  }

  /** Tells brokers of a new smallest id; one that can't be told asks for its group by itself. */
  async #notify(notice: MinBrokerIdNotice): Promise<void> {
    const { addresses, minBrokerId, minBrokerAddr, offlineBrokerAddr, haBrokerAddr } = notice;
    this.#options.logger.info("Smallest brokerId changed", {
      minBrokerId,
      minBrokerAddr,
      offlineBrokerAddr,
      told: addresses.length,
    });
    const request = createRequest(RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE, {
      minBrokerId,
      minBrokerAddr,
      offlineBrokerAddr,
      haBrokerAddr,
    });
    await Promise.all(addresses.map(async (address) => {
      try {
        await this.#client.invokeOneway(address, request, NOTICE_TIMEOUT_MS);
      } catch (error) {
        this.#options.logger.warn("Can't tell a broker of the smallest id", { address, error: invokeErrorText(error) });
      }
    }));
  }

  #printLater(delayMs: number): void {
    this.#printTimer = this.#options.runtime.clock.setTimer(delayMs, () => {
      this.#kvConfig.printAll();
      this.#printLater(PRINT_EACH_MS);
    });
  }
}
