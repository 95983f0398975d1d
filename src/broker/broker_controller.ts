// One broker node: builds the parts, starts and stops them in Apache's order, and connects them. The rules live in the
// parts; what is here is who tells whom. Embedding programs and the command line both start a node through startBroker.

import type { AdminPort, BrokerAddresses } from "../admin/admin_port.ts";
import type { NamesrvView } from "../admin/clients_port.ts";
import { ConnectionLimits } from "../base/connection_limits.ts";
import { errorMessage, IoError } from "../base/errors.ts";
import { formatHostPort } from "../base/host_port.ts";
import { type Logger, SILENT_LOGGER } from "../base/logger.ts";
import { startAdminServer } from "../admin/admin_server.ts";
import { adminAccess } from "../config/admin_access.ts";
import { haTlsIdentity } from "../config/ha_tls.ts";
import { flagName } from "../config/load.ts";
import { remotingClientTls, remotingTls } from "../config/remoting_tls.ts";
import type { Config } from "../config/schema.ts";
import { HAConnectionState } from "../ha/ha_connection_state.ts";
import { HAService } from "../ha/ha_service.ts";
import { parseRemotingAddress } from "../remoting/remoting_address.ts";
import { RemotingClient } from "../remoting/remoting_client.ts";
import type { HttpServer, NetAddress, Runtime } from "../runtime/runtime.ts";
import { MessageStore } from "../store/message_store.ts";
import type { RecordHost } from "../store/types.ts";
import { BrokerAdmin } from "./broker_admin.ts";
import { binding } from "./bound_port.ts";
import { brokerRuntimeInfo, type FigureParts } from "./broker_figures.ts";
import { ClientsAdmin } from "./clients_admin.ts";
import { BrokerOuterAPI } from "./broker_outer_api.ts";
import { brokerHAPort } from "./broker_ha_port.ts";
import type { ConfigManager } from "./config_manager.ts";
import { loadConfigManagers } from "./config_managers.ts";
import { initialRole } from "./initial_role.ts";
import { LearnedMaster, learnFromNamesrv, MissingMaster } from "./learned_master.ts";
import { BrokerServices } from "./broker_services.ts";
import { FollowedMaster } from "./followed_master.ts";
import { startEmbeddedNamesrv } from "./embedded_namesrv.ts";
import { HAClientDriver } from "./ha_client_driver.ts";
import { HAMasterDriver } from "./ha_master_driver.ts";
import type { Namesrv } from "../namesrv/namesrv_controller.ts";
import { HeldBytes } from "../remoting/held_bytes.ts";
import { MasterFileSize } from "./master_file_size.ts";
import { MasterInfoClient, peerStartInfo } from "./master_info_client.ts";
import { MemberFile } from "./member_file.ts";
import { mendTables } from "./mend_tables.ts";
import { objectionToMaster, SharedIdWarning } from "./other_master.ts";
import { createProcessorTable } from "./processors/processor_table.ts";
import { PutMessageService } from "./put_message_service.ts";
import { hostWithPort } from "./record_host.ts";
import { RemotingServer } from "../remoting/remoting_server.ts";
import { withoutPulls } from "../remoting/vip_processors.ts";
import { RoleController } from "./role_controller.ts";
import { RoleFile } from "./role_file.ts";
import { delayHook } from "./schedule/delay_hook.ts";
import { SlaveSynchronize } from "./slave_synchronize.ts";
import { StandInOffsets } from "./stand_in_offsets.ts";
import { StartDecision } from "./start_decision.ts";
import { systemTopics } from "./system_topics.ts";
import { timerHook } from "./timer/timer_hook.ts";
import { VERSION } from "./version.ts";

/** A running node. */
export interface BrokerNode {
  readonly addresses: BrokerAddresses;
  /** The node as the admin API sees it: status, role switches, puts and reads, for programs that embed it. */
  readonly admin: AdminPort;
  /** Flushes, writes the checkpoint, removes `abort`, releases every port and file. Idempotent. */
  stop(): Promise<void>;
}

/** What {@link startBroker} takes. */
export interface BrokerOptions {
  /** From `loadConfig` or `createConfig`; the node keeps and, at run time, changes this object. */
  readonly config: Config;
  /** From `loadRuntime`, or a simulated host. */
  readonly runtime: Runtime;
  readonly logger?: Logger;
  /**
   * Hears of what the node can't go on after: a failed sync, a bug. By default it is logged and the process exits with
   * 1, because what is on the disk is unknown then.
   */
  readonly onFatal?: (error: unknown) => void;
}

/**
 * Starts a node; resolves once every port is bound. Throws {@link ConfigError}, {@link StoreError} (the store is locked,
 * damaged or of other sizes) or {@link IoError} (a port is taken); nothing is left running then.
 */
export async function startBroker(options: BrokerOptions): Promise<BrokerNode> {
  const controller = new BrokerController(options);
  try {
    await controller.start();
  } catch (error) {
    await controller.stop().catch(() => undefined);
    throw error;
  }
  return controller;
}

/** Mirrors Apache's `BrokerController`. */
class BrokerController implements BrokerNode {
  readonly #config: Config;
  readonly #runtime: Runtime;
  readonly #logger: Logger;
  readonly #onFatal: (error: unknown) => void;
  /** What {@link stop} has to undo, last first. */
  readonly #undo: (() => Promise<void> | void)[] = [];
  #addresses: { -readonly [K in keyof BrokerAddresses]: BrokerAddresses[K] } | null = null;
  #admin: BrokerAdmin | null = null;
  #stopping: Promise<void> | null = null;
  #namesrv: Namesrv | null = null;

  constructor(options: BrokerOptions) {
    this.#config = options.config;
    this.#runtime = options.runtime;
    const logger = this.#logger = options.logger ?? SILENT_LOGGER;
    let fatal = false;
    this.#onFatal = (error) => {
      if (fatal) return;
      fatal = true;
      logger.error(
        `The node can't go on: ${errorMessage(error)}`,
        error instanceof Error ? { stack: error.stack ?? "" } : {},
      );
      if (options.onFatal) options.onFatal(error);
      else options.runtime.process.exit(1);
    };
  }

  get addresses(): BrokerAddresses {
    return this.#addresses!;
  }

  get admin(): BrokerAdmin {
    return this.#admin!;
  }

  async start(): Promise<void> {
    const config = this.#config;
    const runtime = this.#runtime;
    const logger = this.#logger;
    const { net, clock, fs, random } = runtime;
    const onFatal = this.#onFatal;
    const bootTimestamp = clock.now();
    const decision = new StartDecision(random);
    const access = adminAccess(config, {
      env: (name) => runtime.process.env(name),
      readFile: (path) => fs.readFile(path),
    });

    const tls = haTlsIdentity(config, (path) => fs.readFile(path));
    if (tls === null && (config.haTlsCertFile ?? config.haTlsKeyFile ?? config.haTlsCaFile) !== null) {
      logger.warn("Certificate files are given and haTlsEnable is false: HA is not encrypted");
    }

    if (config.haBusyPollMicros > 0 && clock.nextTurn === undefined) {
      logger.warn(
        `haBusyPollMicros has no effect on ${runtime.name}, whose event loop can't wait awake; use Bun or Node`,
      );
    }
    const serverTls = remotingTls(config, (path) => fs.readFile(path));
    const clientTls = remotingClientTls(config, (path) => fs.readFile(path));

    // The store: locked, loaded, recovered.
    const service: { current: HAService | null } = { current: null };
    const store = await MessageStore.open(config, {
      fs,
      clock,
      process: runtime.process,
      logger,
      onFatal,
      retainOffset: () => service.current?.retainOffset() ?? null,
    });
    this.#undo.push(() => store.shutdown());
    const directory = `${config.storePathRootDir}/config`;
    const role = initialRole(new RoleFile(fs, directory), { config, clock, logger });
    // In force from here on for whoever asks, before the parts that act it start.
    Object.assign(config, { brokerRole: role.brokerRole, brokerId: role.brokerId });
    const memberFile = new MemberFile({ fs, directory, logger });
    const managers = loadConfigManagers({ fs, clock, logger, directory, config });
    this.#undo.push(async () => {
      await Promise.all(Object.values(managers).map((manager: ConfigManager) => manager.settled()));
    });

    // Replication, both sides.
    let slaves = 0;
    const ha = service.current = new HAService({
      log: store,
      options: config,
      role: role.brokerRole,
      logger,
      onChange: () => {
        this.#admin?.changed();
        const { connectionCount } = service.current!;
        if (connectionCount > slaves) outerApi.onSlave();
        slaves = connectionCount;
      },
    });
    const masterDriver = new HAMasterDriver({
      net,
      clock,
      log: store,
      service: ha,
      logger,
      onFatal,
      allowedPeers: () => config.haAllowedPeers,
    });
    const remotingClient = new RemotingClient({ net, clock, tls: clientTls });
    this.#undo.push(() => remotingClient.close());
    const masterInfo = new MasterInfoClient({ client: remotingClient, logger });
    const learned = new LearnedMaster(logger);
    const masterFileSize = new MasterFileSize({ masterInfo, config, logger });
    const clientDriver = new HAClientDriver({
      net,
      clock,
      random,
      logger,
      log: store,
      askMaster: async (haAddress) => {
        const address = learned.remotingOf(haAddress);
        return address === null ? null : await masterInfo.askMasterRange(address);
      },
      onCut: (reason) => {
        masterDriver.dropConnections(reason);
        // Offsets committed here may count messages that are gone.
        managers.consumerOffsetManager.forgetOwnCommits();
      },
      tls,
      isOwnEnd: (connection) => masterDriver.isOtherEnd(connection),
      onFatal,
    }, config);
    const puts = new PutMessageService({
      store,
      replication: {
        beforePut: (wait) => ha.beforePut(wait),
        handleHA: (nextOffset, wait) => masterDriver.handleHA(nextOffset, wait),
      },
      options: config,
      logger,
      hooks: [
        timerHook({ config, now: () => clock.now(), isReject: (deliverMs) => services.timer.isReject(deliverMs) }),
        delayHook(config),
      ],
    });
    const services: BrokerServices = new BrokerServices({
      config,
      runtime,
      logger,
      store,
      puts,
      managers,
      configDirectory: directory,
      storeHost: this.#storeHost(),
      role: () => roles.role,
      isMasterAlive: () => clientDriver.status.connectionState === HAConnectionState.TRANSFER,
      replicatedOffset: () => service.current?.retainOffset() ?? null,
      topicSubscribeInfo: (topic) => outerApi.topicSubscribeInfo(topic),
      admin: {
        updateConfig: (patch) => admin.updateConfig(patch),
        onPermissionChanged: () => managers.topicConfigManager.touch(),
        registered: () => outerApi.registered(),
        brokerAddr: () => this.addresses.advertised,
        effective: (): Readonly<Record<string, number>> => {
          // The first port answers before the last one is bound.
          if (this.#addresses === null) return {};
          return { listenPort: portOf(this.addresses.remoting), haListenPort: portOf(this.addresses.ha) };
        },
      },
      onFatal,
    });
    this.#undo.push(() => services.stop());
    const following = new FollowedMaster(clientDriver, store);
    const slaveSynchronize = new SlaveSynchronize({
      client: remotingClient,
      clock,
      logger,
      managers,
      timer: services.timer,
      timerMetrics: services.timerMetrics,
      config,
      ownAddress: () => this.#identity(roles).brokerAddr,
      masterMaxOffset: async (address) => (await masterInfo.askMasterRange(address))?.maxOffset ?? null,
      ownLog: following,
    });
    let wasSlave = false;
    const roles: RoleController = new RoleController({
      clock,
      logger,
      file: new RoleFile(fs, directory),
      client: clientDriver,
      setStoreRole: async (next) => {
        await store.setRole(next);
        if (next === "master" && this.#stopping === null) mendTables({ store, managers, logger });
      },
      setServices: (isMaster) => services.setMaster(isMaster),
      setReplicationRole: (next) => masterDriver.setRole(next),
      isOwnAddress: (address) => this.#isOwnAddress(address, this.#identity(roles).haServerAddr),
      hasNamesrv: () => config.namesrvAddr !== null,
      fencedReason: () => puts.fencedReason,
      unfence: () => puts.liftFence(),
      onChanged: () => {
        wasSlave ||= roles.role === "SLAVE";
        // What GET /config and the line about the bound ports call the effective role.
        Object.assign(config, { brokerRole: roles.role, brokerId: roles.brokerId });
        const isSlave = roles.role === "SLAVE";
        const { masterAddress } = roles;
        slaveSynchronize.setMasterAddr(isSlave && masterAddress !== null ? learned.remotingOf(masterAddress) : null);
        if (puts.fencedReason === null && this.#stopping === null) outerApi.start();
        outerApi.registerBrokerAll();
        admin.changed();
      },
    }, { ...role, role: role.brokerRole });

    // Remoting: the processors, registration with the NameServers.
    const remotingServers: RemotingServer[] = [];
    const adminLimits = new ConnectionLimits({
      connectionsMax: () => config.adminConnectionsMax,
      connectionsPerAddressMax: () => config.adminConnectionsPerAddressMax,
    });
    const figures: FigureParts = {
      config,
      runtime,
      store,
      masterDriver,
      clientDriver,
      roles,
      puts,
      remotingServers,
      adminLimits,
      namesrvStates: () => outerApi.namesrvStates(),
      runtimeInfoExtra: () => ({
        ...peerStartInfo({
          bootId: decision.bootId,
          puts: decision.puts(roles, puts.fencedReason),
          promotedAt: roles.promotedAt,
        }),
        ...services.runtimeInfo(),
      }),
      clientFigures: {
        config,
        clock,
        stats: services.stats,
        topics: managers.topicConfigManager,
        groups: managers.subscriptionGroupManager,
        offsets: managers.consumerOffsetManager,
        consumers: services.consumers,
        producers: services.producers,
        store,
        brokerAddr: () => this.addresses.advertised,
      },
    };
    const processors = createProcessorTable(services.processors(), {
      runtimeInfo: { runtimeInfo: () => brokerRuntimeInfo(figures, bootTimestamp) },
      ha: brokerHAPort({
        clock,
        store,
        masterDriver,
        clientDriver,
        roles,
        learned,
        bootMaxOffset: store.maxOffset,
        identity: () => this.#identity(roles),
        isOwnAddress: (address) => this.#isOwnAddress(address, this.#identity(roles).haServerAddr),
      }),
      managers,
      timer: services.timer,
      timerMetrics: services.timerMetrics,
    });
    const outerApi = new BrokerOuterAPI({
      net,
      clock,
      logger,
      config,
      identity: () => this.#identity(roles),
      topics: managers.topicConfigManager,
      tls: clientTls,
      onRegistered: (result) => {
        if (roles.role !== "SLAVE") {
          managers.topicConfigManager.updateOrderTopicConfig(result.orderTopics);
          // One that was promoted has no past as a master: what a slave was told before may count what is gone.
          if (!wasSlave) void standIns.ask();
        }
        learnFromNamesrv(result, { learned, roles, slaveSynchronize, missing: missingMaster });
      },
      awaitsMaster: () => roles.awaitsMaster,
      adviceWithout: () =>
        roles.role === "SLAVE" && config.haMasterAddress !== null
          ? `a slave that is given its master needs none: ${flagName("namesrvAddr")} none`
          : null,
      onMembers: (members) => {
        const { brokerId } = this.#identity(roles);
        const holder = members.get(brokerId);
        if (holder !== undefined) void sharedId.held(holder, { brokerName: config.brokerName, brokerId });
        memberFile.add([...members.values()]);
      },
    });
    const missingMaster = new MissingMaster({ config, logger, states: () => outerApi.namesrvStates() });
    const sharedId = new SharedIdWarning({
      isAlive: (address) => masterInfo.brokerRuntimeInfo(address).then(() => true, () => false),
      logger,
    });
    managers.topicConfigManager.onChange(() => outerApi.registerBrokerAll());
    const standIns = new StandInOffsets({
      memberGroup: () => outerApi.brokerMemberGroup(),
      client: remotingClient,
      offsets: managers.consumerOffsetManager,
      store,
      logger,
    });

    const admin = this.#admin = new BrokerAdmin({
      ...figures,
      version: VERSION,
      topics: managers.topicConfigManager,
      addresses: () => this.addresses,
      haServerAddr: () => this.#identity(roles).haServerAddr,
      storeHost: this.#storeHost(),
      clientsPort: new ClientsAdmin({
        topics: managers.topicConfigManager,
        groups: managers.subscriptionGroupManager,
        offsets: managers.consumerOffsetManager,
        consumers: services.consumers,
        producers: services.producers,
        store,
        stats: services.stats,
        timerMetrics: services.timerMetrics,
        logger,
        systemTopicNames: new Set(systemTopics(config).map((topic) => topic.topicName)),
        readOnlyReason: () => roles.role === "SLAVE" ? "Role is SLAVE, change it on the master" : null,
        namesrv: () => this.#namesrvView(),
      }),
      onUnfenced: () => outerApi.start(),
    });
    clientDriver.onStateChange((status) => {
      admin.changed();
      if (!following.changed(status)) return;
      slaveSynchronize.onFollowing();
      const remoting = status.masterAddress === null ? null : learned.remotingOf(status.masterAddress);
      if (remoting === null) return;
      memberFile.add([remoting]);
      void masterFileSize.compare(remoting);
    });

    // Ports before the store runs, so that a taken one leaves it cleanly stopped; of what is written only recovery's cut and
    // the note of --force-role come before. The admin port is bound last.
    const hostname = config.bindAddress;
    const haAddress = await this.#binding(
      "haListenPort",
      config.haListenPort,
      masterDriver.start({ hostname, port: config.haListenPort, tls }),
    );
    this.#undo.push(() => masterDriver.stop());
    const heldBytes = new HeldBytes(() => config.remotingHeldBytesMax);
    const listen = async (key: "listenPort" | "vipListenPort"): Promise<NetAddress> => {
      const port = config[key];
      const server = new RemotingServer({
        net,
        clock,
        logger,
        processors: key === "vipListenPort" ? withoutPulls(processors) : processors,
        hostname,
        port,
        limits: config,
        heldBytes,
        tls: serverTls,
        onConnectionClosed: (connection) => services.onConnectionClosed(connection),
        onError: onFatal,
      });
      const address = await this.#binding(key, port, server.start());
      remotingServers.push(server);
      this.#undo.push(() => server.stop());
      return address;
    };
    const remoting = await listen("listenPort");
    // Held pulls are answered while their connections are still there.
    this.#undo.push(() => services.holds.stop());
    const vip = await listen("vipListenPort");
    this.#addresses = {
      remoting: formatHostPort(remoting),
      vip: formatHostPort(vip),
      ha: formatHostPort(haAddress),
      admin: null,
      advertised: config.advertise ?? formatHostPort({ hostname: config.brokerIP1, port: remoting.port }),
      namesrv: null,
    };

    await this.#startNamesrv(heldBytes);

    store.start();
    const objection = roles.role === "SLAVE" ? null : await objectionToMaster({
      memberGroup: () => outerApi.brokerMemberGroup(),
      membersBefore: memberFile.addresses,
      ask: (address) => masterInfo.askPeer(address),
      own: {
        brokerClusterName: config.brokerClusterName,
        brokerName: config.brokerName,
        bootId: decision.bootId,
        maxOffset: store.maxOffset,
        promotedAt: roles.promotedAt,
      },
      onRegisteredMaster: (address) => sharedId.leaveOut(address),
      onStranger: (address) => memberFile.remove(address),
      clock,
      logger,
    });
    const startFence = decision.decide(objection);
    if (startFence !== null) puts.setFenced(true, startFence);
    await roles.start();
    this.#undo.push(() => roles.stop());
    slaveSynchronize.start();
    this.#undo.push(() => slaveSynchronize.stop());
    // Registered beside a master that takes puts, this one would take its route away.
    if (objection === null) outerApi.start();
    this.#undo.push(() => outerApi.stop());

    if (access !== null) {
      const server: HttpServer = await this.#binding(
        "adminAddress",
        access.port,
        startAdminServer(admin, { access, runtime, logger, limits: adminLimits }),
        access.hostname,
      );
      this.#undo.push(() => server.close());
      this.#addresses.admin = formatHostPort(server.address);
    }
  }

  /** Names the setting behind a port that can't be bound. */
  #binding<T>(key: keyof typeof PORTS, port: number, bound: Promise<T>, hostname = this.#config.bindAddress) {
    const { what, fromListenPort } = PORTS[key];
    const { listenPort } = this.#config;
    const isDerived = fromListenPort !== 0 && port === listenPort + fromListenPort;
    return binding(bound, { hostname, port }, {
      what,
      flag: flagName(key),
      hostFlag: flagName(key === "adminAddress" ? key : "bindAddress"),
      ...(isDerived ? { goesBy: `${flagName("listenPort")} ${listenPort}` } : {}),
    });
  }

  /** A master without NameServers brings its own; where one answers already, it registers there. */
  async #startNamesrv(heldBytes: HeldBytes): Promise<void> {
    const config = this.#config;
    if (!config.namesrvEnable) return;
    const local = (port: number) => formatHostPort({ hostname: localHost(config.bindAddress), port });
    try {
      const started = startEmbeddedNamesrv({ config, runtime: this.#runtime, logger: this.#logger, heldBytes });
      const namesrv = await this.#binding("namesrvListenPort", config.namesrvListenPort, started);
      this.#undo.push(() => namesrv.stop());
      this.#namesrv = namesrv;
      this.#addresses!.namesrv = formatHostPort(namesrv.address);
      if (config.namesrvAddr === null) Object.assign(config, { namesrvAddr: local(namesrv.address.port) });
    } catch (error) {
      if (!(error instanceof IoError) || error.kind !== "inUse") throw error;
      const address = local(config.namesrvListenPort);
      if (config.namesrvAddr === null) Object.assign(config, { namesrvAddr: address });
      this.#logger.warn(
        `Port ${config.namesrvListenPort} is taken, so no NameServer is started here; registering with what answers there`,
        { namesrvAddr: config.namesrvAddr! },
      );
    }
  }

  #namesrvView(): NamesrvView | null {
    if (this.#namesrv === null) return null;
    const brokers = Object.values(this.#namesrv.clusterInfo().brokerAddrTable).map((broker) => ({
      cluster: broker.cluster,
      brokerName: broker.brokerName,
      addresses: broker.brokerAddrs,
    }));
    return { address: this.addresses.namesrv!, topics: this.#namesrv.figures().topics, brokers };
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  /** Every step is taken whatever became of those before it: a port or the store's lock must not stay behind. */
  async #stopAll(): Promise<void> {
    const bugs: unknown[] = [];
    for (const undo of this.#undo.reverse()) {
      try {
        await undo();
      } catch (error) {
        this.#logger.error(`Stopping failed: ${errorMessage(error)}`);
        if (!(error instanceof IoError)) bugs.push(error);
      }
    }
    if (bugs.length > 0) throw bugs[0];
  }

  /** Whether an HA address is where this node itself listens. */
  #isOwnAddress(haAddress: string, haServerAddr: string): boolean {
    const parsed = parseRemotingAddress(haAddress);
    if (parsed === null || this.#addresses === null) return false;
    const { brokerIP1, bindAddress } = this.#config;
    const { hostname, port } = parsed;
    if (haAddress === haServerAddr || haAddress === this.#addresses.ha) return true;
    const isHere = hostname === "localhost" || hostname === "::1" || hostname.startsWith("127.") ||
      [brokerIP1, bindAddress, this.#runtime.process.localAddress].includes(hostname);
    return isHere && port === portOf(this.#addresses.ha);
  }

  #identity(roles: RoleController): { brokerId: number; brokerAddr: string; haServerAddr: string } {
    const { brokerIP2 } = this.#config;
    return {
      brokerId: roles.brokerId,
      brokerAddr: this.addresses.advertised,
      haServerAddr: `${brokerIP2}:${portOf(this.addresses.ha)}`,
    };
  }

  /**
   * What records and message ids name as their broker: clients go there to read a message by its id. Where a name is
   * advertised it is brokerIP1, as they hold an address.
   */
  #storeHost(): RecordHost {
    const { advertise, brokerIP1 } = this.#config;
    const advertised = advertise === null ? null : parseRemotingAddress(advertise);
    return hostWithPort([advertised?.hostname ?? brokerIP1, brokerIP1], () => portOf(this.addresses.advertised));
  }
}

/** The ports of a node, and how far each is from listenPort by default. */
const PORTS = {
  listenPort: { what: "Remoting port", fromListenPort: 0 },
  vipListenPort: { what: "VIP port", fromListenPort: -2 },
  haListenPort: { what: "HA port", fromListenPort: 1 },
  adminAddress: { what: "Admin address", fromListenPort: 2 },
  namesrvListenPort: { what: "NameServer port", fromListenPort: 0 },
} as const;

/** Where a port that is bound to `bindAddress` is reached from this host. */
function localHost(bindAddress: string): string {
  return bindAddress === "0.0.0.0" ? "127.0.0.1" : bindAddress === "::" ? "::1" : bindAddress;
}

function portOf(address: string): number {
  return Number(address.slice(address.lastIndexOf(":") + 1));
}
