// Registration with the NameServers: one loop per NameServer, each on its own, so a dead one holds up nobody. It learns
// from their answers where a slave's master is; what to do with that is the controller's.

import { crc32, deflateSync } from "node:zlib";
import { type Deferred, deferred, startLoop, WakeUp } from "../base/async.ts";
import { concatBytes, utf8, writeInt32 } from "../base/bytes.ts";
import { ProtocolError, RemotingError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { isJavaJsonObject, javaJsonObject, parseJavaJson, WIRE_FORMAT, writeJavaJson } from "../remoting/java_json.ts";
import type { JavaJsonObject } from "../remoting/java_json.ts";
import { splitAddressList } from "../remoting/remoting_address.ts";
import { answerText, invokeErrorText, RemotingClient } from "../remoting/remoting_client.ts";
import { createRequest, type RemotingCommand } from "../remoting/remoting_command.ts";
import { RequestCode } from "../remoting/request_code.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import type { Clock, Net, Timer, TlsClientOptions } from "../runtime/runtime.ts";
import { type DataVersion, dataVersionJson } from "./config_manager.ts";
import { PermName } from "./topic_config_manager.ts";

/** Configuration keys used here; read again at each registration. */
export interface BrokerOuterAPIConfig {
  /** `host:port;host:port`; null: no NameServer. Read once. */
  readonly namesrvAddr: string | null;
  readonly brokerClusterName: string;
  readonly brokerName: string;
  /** ms between registrations; held within 10,000 and 60,000 as Apache does. */
  readonly registerNameServerPeriod: number;
  /** ms one registration may take. */
  readonly registerBrokerTimeoutMills: number;
  /** `perm` bits all topics are and-ed with when it is not 6. */
  readonly brokerPermission: number;
  /** False: a NameServer is first asked whether it knows what would be registered. */
  readonly forceRegister: boolean;
  readonly compressedRegister: boolean;
}

/** What the broker says of itself; asked at each registration, as a role change alters it. */
export interface BrokerIdentity {
  /** 0 for a master. */
  readonly brokerId: number;
  /** `brokerIP1:listenPort`: the key the NameServers know this broker by. */
  readonly brokerAddr: string;
  /** `brokerIP2:haListenPort`. */
  readonly haServerAddr: string;
}

/** The topics to register: TopicConfigManager. */
export interface RegisteredTopics {
  readonly dataVersion: DataVersion;
  readonly topicConfigTable: JavaJsonObject;
}

/** What the NameServers know of this broker's master; null where they know none. A master gets nulls. */
export interface RegisterBrokerResult {
  readonly haServerAddr: string | null;
  readonly masterAddr: string | null;
  /** Topics that the NameServers' `ORDER_TOPIC_CONFIG` names. */
  readonly orderTopics: readonly string[];
}

/** What a {@link BrokerOuterAPI} needs. */
export interface BrokerOuterAPIOptions {
  readonly net: Net;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: BrokerOuterAPIConfig;
  readonly identity: () => BrokerIdentity;
  readonly topics: RegisteredTopics;
  /** TLS to the NameServers; unset or null: none. */
  readonly tls?: TlsClientOptions | null;
  /** Told after each registration that succeeded, with the first known master over all NameServers. */
  readonly onRegistered: (result: RegisterBrokerResult) => void;
  /**
   * Told, before this broker registers over a new connection, which other brokers of its name are there by brokerId, live
   * or not. Who has its own id is among them; later is too late to ask, for the newcomer takes the place. A master asks
   * again with its registrations, but not within 10 s: two of them take puts side by side when the other one came
   * meanwhile. Unset: nobody is asked.
   */
  readonly onMembers?: (members: ReadonlyMap<number, string>) => void;
  /** Whether this is a slave that waits to hear of its master: it asks more often then. Unset: never. */
  readonly awaitsMaster?: () => boolean;
  /** How this broker does without a NameServer, said when none can be reached; null or unset: it doesn't. */
  readonly adviceWithout?: () => string | null;
}

/** State of one NameServer, for `/ha` and the log. */
export interface NamesrvState {
  readonly address: string;
  /** Whether the last registration succeeded; null before the first one ended. */
  readonly registered: boolean | null;
  /** Why not. */
  readonly error: string | null;
}

/** After the first registration, as Apache has it. */
const SECOND_REGISTRATION_MS = 10_000;
/** A slave that was started before its master waits so long for the next answer at most. */
const AWAITED_MASTER_MS = 3000;
/** A slave that has connected has registered by then. */
const SLAVE_REGISTERS_MS = 1000;
/** A master that registers often asks no sooner who else is there. */
const MEMBERS_MS = 10_000;
/** Wait after a failure; doubled up to the limit, which is low as a NameServer that comes back has no route until then. */
const RETRY_MS = 1000;
const RETRY_MAX_MS = 4000;
/** Queues of a topic on one broker that are believed. */
const QUEUE_NUMS_MAX = 65_536;
/** Limit of QUERY_DATA_VERSION, as in Apache. */
const QUERY_TIMEOUT_MS = 3000;
/** Limit of UNREGISTER_BROKER, and of the question who else is there: a stop and a start wait for them. */
const UNREGISTER_TIMEOUT_MS = 1500;

interface Namesrv {
  readonly address: string;
  readonly wake: WakeUp;
  registered: boolean | null;
  error: string | null;
  result: RegisterBrokerResult | null;
  /** Its connection ended after a registration that succeeded. */
  lost: boolean;
  /** Whether a registration succeeded over the connection that is open. */
  known: boolean;
  /** When it was last asked who else is there, monotonic ms. */
  membersAskedAt: number;
  /** Who waits for the end of a registration that begins from now on. */
  waiting: (() => void)[];
  loop: Promise<void>;
}

/** Mirrors Apache's `BrokerOuterAPI` and the registering part of its `BrokerController`. */
export class BrokerOuterAPI {
  readonly #options: BrokerOuterAPIOptions;
  /** Registrations. Its connections are what NameServers know this broker by: one that closes takes it out. */
  readonly #client: RemotingClient;
  /** Questions: one that takes too long closes its connection, and nothing else. */
  readonly #questions: RemotingClient;
  #namesrvs: Namesrv[] = [];
  #running = false;
  #slaveTimer: Timer | null = null;
  #stopped: Deferred<false> = deferred<false>();

  constructor(options: BrokerOuterAPIOptions) {
    this.#options = options;
    this.#client = new RemotingClient({
      net: options.net,
      clock: options.clock,
      tls: options.tls ?? null,
      onConnectionClosed: (address) => this.#onConnectionLost(address),
    });
    this.#questions = new RemotingClient({ net: options.net, clock: options.clock, tls: options.tls ?? null });
  }

  /** Starts registering with every address of `namesrvAddr`; with none it does nothing. Does not wait for answers. */
  start(): void {
    if (this.#running) return;
    this.#running = true;
    this.#stopped = deferred<false>();
    const addresses = splitAddressList(this.#options.config.namesrvAddr ?? "");
    this.#namesrvs = addresses.map((address) => ({
      address,
      wake: new WakeUp(),
      registered: null,
      error: null,
      result: null,
      lost: false,
      known: false,
      membersAskedAt: -Infinity,
      waiting: [],
      loop: Promise.resolve(),
    }));
    for (const namesrv of this.#namesrvs) {
      namesrv.loop = startLoop(
        () => this.#run(namesrv),
        (error) =>
          this.#options.logger.error("Registering stopped", { namesrv: namesrv.address, error: String(error) }),
      );
    }
  }

  /** Registers with every NameServer now: after a role change, or a change of the topics. */
  registerBrokerAll(): void {
    for (const namesrv of this.#namesrvs) namesrv.wake.notify();
  }

  /** A slave has come: who else is there is asked again, when it has had the time to register. */
  onSlave(): void {
    if (!this.#running || this.#slaveTimer !== null) return;
    this.#slaveTimer = this.#options.clock.setTimer(SLAVE_REGISTERS_MS, () => {
      this.#slaveTimer = null;
      for (const namesrv of this.#namesrvs) void this.#askMembers(namesrv, true);
    });
  }

  /** {@link registerBrokerAll}; resolves once every NameServer was told, or after 3 s. */
  async registered(): Promise<void> {
    const told = this.#namesrvs.map((namesrv) => new Promise<void>((resolve) => namesrv.waiting.push(resolve)));
    if (told.length === 0) return;
    const late = deferred<void>();
    const timer = this.#options.clock.setTimer(QUERY_TIMEOUT_MS, () => late.resolve());
    this.registerBrokerAll();
    await Promise.race([Promise.all(told), late.promise]);
    timer.cancel();
  }

  /** Takes the broker out of every NameServer that answers (each has 1.5 s), and closes. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#running = false;
    this.#slaveTimer?.cancel();
    this.#slaveTimer = null;
    const request = this.#unregisterRequest();
    await Promise.all(this.#namesrvs.map(async ({ address, registered }) => {
      if (registered !== true) return;
      try {
        await this.#client.invoke(address, request, UNREGISTER_TIMEOUT_MS);
      } catch (error) {
        this.#options.logger.warn("Can't unregister", { namesrv: address, error: invokeErrorText(error) });
      }
    }));
    this.#client.close();
    this.#questions.close();
    // Not even a connect under way is waited for: an unreachable NameServer takes seconds to fail it.
    this.#stopped.resolve(false);
    this.registerBrokerAll();
    await Promise.all(this.#namesrvs.map((one) => one.loop));
  }

  /** How registering stands, by NameServer. */
  namesrvStates(): NamesrvState[] {
    return this.#namesrvs.map(({ address, registered, error }) => ({ address, registered, error }));
  }

  async #run(namesrv: Namesrv): Promise<void> {
    const { clock, config } = this.#options;
    let firstDone = false;
    let retryMs = RETRY_MS;
    let asked = true;
    // The answer to a registration is what names the master.
    const awaits = () => this.#options.awaitsMaster?.() === true;
    while (this.#running) {
      const register = async () => {
        await this.#askMembers(namesrv);
        return !asked && !awaits() && namesrv.registered === true && !config.forceRegister &&
            await this.#isKnown(namesrv) ||
          await this.#register(namesrv);
      };
      const served = namesrv.waiting.splice(0);
      const ok = await Promise.race([register(), this.#stopped.promise]);
      for (const resolve of served) resolve();
      if (!this.#running) return;
      const period = Math.max(10_000, Math.min(60_000, this.#options.config.registerNameServerPeriod));
      const dueMs = firstDone ? period : SECOND_REGISTRATION_MS;
      const waitMs = ok ? (awaits() ? Math.min(dueMs, AWAITED_MASTER_MS) : dueMs) : retryMs;
      retryMs = ok ? RETRY_MS : Math.min(2 * retryMs, RETRY_MAX_MS);
      firstDone ||= ok;
      asked = await namesrv.wake.wait(clock, waitMs);
      if (!namesrv.lost) continue;
      // Soon, but not at once: a NameServer that answers and hangs up must not become a busy loop.
      namesrv.lost = false;
      await namesrv.wake.wait(clock, RETRY_MS);
    }
  }

  /** A NameServer drops the route with the connection, so a lost one is made again soon. */
  #onConnectionLost(address: string): void {
    const namesrv = this.#namesrvs.find((one) => one.address === address);
    if (namesrv === undefined) return;
    namesrv.known = false;
    if (namesrv.registered !== true) return;
    namesrv.lost = true;
    namesrv.wake.notify();
  }

  /** Whether a NameServer holds this very version of the topics; it counts as a sign of life there. */
  async #isKnown(namesrv: Namesrv): Promise<boolean> {
    const { topics, config, identity } = this.#options;
    const { brokerId, brokerAddr } = identity();
    const ext = { brokerAddr, brokerId, brokerName: config.brokerName, clusterName: config.brokerClusterName };
    const body = utf8.encode(writeJavaJson(dataVersionJson(topics.dataVersion), WIRE_FORMAT));
    try {
      const request = createRequest(RequestCode.QUERY_DATA_VERSION, ext, body);
      const answer = await this.#questions.invoke(namesrv.address, request, QUERY_TIMEOUT_MS);
      return answer.code === ResponseCode.SUCCESS && answer.extFields.get("changed") === "false";
    } catch {
      return false;
    }
  }

  /**
   * brokerId and remoting address of the brokers of this one's name, this one left out, as any NameServer has them. Each
   * is asked, 1.5 s at most; works before {@link start}.
   */
  async brokerMemberGroup(): Promise<readonly (readonly [number, string])[]> {
    const addresses = splitAddressList(this.#options.config.namesrvAddr ?? "");
    const answers = await Promise.all(addresses.map((address) => this.#membersAt(address)));
    return answers.flatMap((members) => [...members]);
  }

  /** {@link brokerMemberGroup} as one NameServer has it. */
  async #membersAt(namesrv: string): Promise<ReadonlyMap<number, string>> {
    const { config, identity } = this.#options;
    try {
      const request = createRequest(RequestCode.GET_BROKER_CLUSTER_INFO);
      const answer = await this.#questions.invoke(namesrv, request, UNREGISTER_TIMEOUT_MS);
      if (answer.code === ResponseCode.SUCCESS) return membersIn(answer.body, config, identity().brokerAddr);
    } catch {
      // One that is away knows nobody.
    }
    return new Map();
  }

  /**
   * The topic's readable queues on all brokers, as a consumer has them; null when no NameServer knows the topic. Asks
   * one NameServer after another, 3 s each at most.
   */
  async topicSubscribeInfo(topic: string): Promise<{ topic: string; brokerName: string; queueId: number }[] | null> {
    for (const { address } of this.#namesrvs) {
      try {
        const request = createRequest(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic, acceptStandardJsonOnly: true });
        const answer = await this.#questions.invoke(address, request, QUERY_TIMEOUT_MS);
        if (answer.code === ResponseCode.SUCCESS) return readableQueues(topic, answer.body);
        if (answer.code === ResponseCode.TOPIC_NOT_EXIST) return null;
      } catch {
        // The next one may know it.
      }
    }
    return null;
  }

  /** Never rejects. */
  async #askMembers(namesrv: Namesrv, now = false): Promise<void> {
    const { clock, identity, onMembers } = this.#options;
    if (onMembers === undefined) return;
    const isOld = clock.monotonic() - namesrv.membersAskedAt >= MEMBERS_MS;
    if (!now && namesrv.known && !(isOld && identity().brokerId === 0)) return;
    namesrv.membersAskedAt = clock.monotonic();
    const members = await this.#membersAt(namesrv.address);
    if (this.#running) onMembers(members);
  }

  /** One registration; says a change from working to failing and back, once. */
  async #register(namesrv: Namesrv): Promise<boolean> {
    const { logger, config, adviceWithout } = this.#options;
    if (!this.#running) return false;
    const request = this.#registerRequest();
    try {
      const answer = await this.#client.invoke(namesrv.address, request, config.registerBrokerTimeoutMills);
      if (answer.code !== ResponseCode.SUCCESS) {
        throw new RemotingError(answer.code, `Answered with ${answerText(answer)}`);
      }
      if (this.#running && namesrv.registered !== true) {
        logger.info("Registered with the NameServer", { namesrv: namesrv.address });
      }
      namesrv.registered = true;
      namesrv.known = true;
      namesrv.error = null;
      namesrv.result = {
        haServerAddr: answer.extFields.get("haServerAddr") ?? null,
        masterAddr: answer.extFields.get("masterAddr") ?? null,
        orderTopics: orderTopicsOf(answer.body),
      };
    } catch (error) {
      const text = invokeErrorText(error);
      if (this.#running && namesrv.registered !== false) {
        const advice = adviceWithout?.() ?? null;
        logger.warn(`Can't register with the NameServer, trying again${advice === null ? "" : `; ${advice}`}`, {
          namesrv: namesrv.address,
          error: text,
        });
      }
      namesrv.registered = false;
      namesrv.known = false;
      namesrv.error = text;
      // What it said before is no longer known to hold.
      namesrv.result = null;
      return false;
    }
    if (this.#running) this.#options.onRegistered(this.#combinedResult());
    return true;
  }

  /** The first NameServer, in their configured order, that knows the master. */
  #combinedResult(): RegisterBrokerResult {
    const results = this.#namesrvs.map((one) => one.result).filter((result) => result !== null);
    return {
      haServerAddr: results.find((result) => result.haServerAddr !== null)?.haServerAddr ?? null,
      masterAddr: results.find((result) => result.masterAddr !== null)?.masterAddr ?? null,
      orderTopics: [...new Set(results.flatMap((result) => result.orderTopics))],
    };
  }

  #registerRequest(): RemotingCommand {
    const { config, identity } = this.#options;
    const { brokerId, brokerAddr, haServerAddr } = identity();
    const json = this.#registerBody();
    const body = config.compressedRegister ? compressedBody(json) : utf8.encode(writeJavaJson(json, WIRE_FORMAT));
    return createRequest(RequestCode.REGISTER_BROKER, {
      brokerAddr,
      brokerId,
      brokerName: config.brokerName,
      clusterName: config.brokerClusterName,
      haServerAddr,
      compressed: config.compressedRegister,
      // Present as in 5.x: absent would make the NameServer treat us as a 4.9 broker.
      enableActingMaster: false,
      bodyCrc32: crc32(body) & 0x7fff_ffff,
    }, body);
  }

  /** RegisterBrokerBody of Apache, its maps of static topics left empty. */
  #registerBody(): JavaJsonObject {
    const { topics, config } = this.#options;
    const topicConfigTable = javaJsonObject();
    for (const [topic, topicConfig] of Object.entries(topics.topicConfigTable)) {
      if (!isJavaJsonObject(topicConfig)) continue;
      topicConfigTable[topic] = masked(topicConfig, config.brokerPermission);
    }
    return javaJsonObject({
      filterServerList: [],
      topicConfigSerializeWrapper: javaJsonObject({
        dataVersion: dataVersionJson(topics.dataVersion),
        mappingDataVersion: dataVersionJson({ stateVersion: 0, timestamp: 0, counter: 0 }),
        topicConfigTable,
        topicQueueMappingDetailMap: javaJsonObject(),
        topicQueueMappingInfoMap: javaJsonObject(),
      }),
    });
  }

  #unregisterRequest(): RemotingCommand {
    const { config, identity } = this.#options;
    const { brokerId, brokerAddr } = identity();
    return createRequest(RequestCode.UNREGISTER_BROKER, {
      brokerAddr,
      brokerId,
      brokerName: config.brokerName,
      clusterName: config.brokerClusterName,
    });
  }
}

function readableQueues(topic: string, body: Uint8Array) {
  const json = parseJavaJson(utf8.decode(body));
  const queueDatas = isJavaJsonObject(json) && Array.isArray(json.queueDatas) ? json.queueDatas : [];
  return queueDatas.flatMap((data) => {
    if (!isJavaJsonObject(data) || (Number(data.perm) & PermName.READ) === 0) return [];
    const count = Math.min(Number(data.readQueueNums) || 0, QUEUE_NUMS_MAX);
    return Array.from({ length: count }, (_, queueId) => ({ topic, brokerName: String(data.brokerName), queueId }));
  });
}

/** Members of this broker's name in a ClusterInfo by brokerId, without the one at `own`. */
function membersIn(body: Uint8Array, config: BrokerOuterAPIConfig, own: string): Map<number, string> {
  const json = parseJavaJson(utf8.decode(body));
  const table = isJavaJsonObject(json) ? json.brokerAddrTable : undefined;
  const broker = isJavaJsonObject(table) ? table[config.brokerName] : undefined;
  const members = new Map<number, string>();
  if (!isJavaJsonObject(broker) || broker.cluster !== config.brokerClusterName) return members;
  const { brokerAddrs } = broker;
  const entries = brokerAddrs instanceof Map
    ? [...brokerAddrs]
    : Object.entries(isJavaJsonObject(brokerAddrs) ? brokerAddrs : {});
  for (const [id, address] of entries) {
    if (typeof address === "string" && address !== own) members.set(Number(id), address);
  }
  return members;
}

/** The deflated form of {@link BrokerOuterAPI}'s body. Mirrors `RegisterBrokerBody.encode` with `compress`. */
function compressedBody(json: JavaJsonObject): Uint8Array {
  const wrapper = json.topicConfigSerializeWrapper as JavaJsonObject;
  const topics = Object.values(wrapper.topicConfigTable as JavaJsonObject) as JavaJsonObject[];
  const parts = [sized(writeJavaJson(wrapper.dataVersion!, WIRE_FORMAT)), int32Bytes(topics.length)];
  for (const { topicName, readQueueNums, writeQueueNums, perm, topicFilterType, attributes } of topics) {
    const text = writeJavaJson(attributes ?? javaJsonObject(), WIRE_FORMAT);
    parts.push(sized([topicName, readQueueNums, writeQueueNums, perm, topicFilterType, text].join(" ")));
  }
  parts.push(sized(writeJavaJson(json.filterServerList!, WIRE_FORMAT)), int32Bytes(0));
  return deflateSync(concatBytes(parts), { level: 9 });
}

function sized(text: string): Uint8Array {
  const bytes = utf8.encode(text);
  return concatBytes([int32Bytes(bytes.length), bytes]);
}

function int32Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeInt32(bytes, 0, value);
  return bytes;
}

/** Keys of the KVTable that comes with an answer; none when it brings no table. */
function orderTopicsOf(body: Uint8Array): string[] {
  if (body.length === 0) return [];
  try {
    const json = parseJavaJson(utf8.decode(body));
    const table = isJavaJsonObject(json) ? json.table : undefined;
    return isJavaJsonObject(table) ? Object.keys(table) : [];
  } catch (error) {
    if (error instanceof ProtocolError) return [];
    throw error;
  }
}

function masked(topicConfig: JavaJsonObject, brokerPermission: number): JavaJsonObject {
  const all = PermName.READ | PermName.WRITE;
  if ((brokerPermission & all) === all || typeof topicConfig.perm !== "number") return topicConfig;
  const copy = javaJsonObject(topicConfig);
  copy.perm = topicConfig.perm & brokerPermission;
  return copy;
}
