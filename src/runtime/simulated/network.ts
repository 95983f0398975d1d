// The simulated TCP network: addresses, ports, listeners, handshakes, and the faults between hosts.
//
// Fault model. Bytes of one direction never overtake each other, are never altered, lost or doubled within a living
// connection: that is what TCP promises. Everything else may happen. Each packet has its own delay; bytes are cut into
// segments at any place and glued in reads. A direction can be clogged (late) or cut (silent), for one pair of hosts or
// around one host, in one way only if wanted; what waits is sent again once the way is open, and a connection is given
// up after `giveUpMs`. With the way back cut, bytes arrive but no acknowledgement does, so the sender's window fills.
// Connections break by RST, seen by the receiver first; unread bytes survive that or don't, by seed. A host that loses
// power says nothing: its peers stay half-open until they send something to its next life, which answers with RST. A
// program that dies leaves its kernel to close for it. Kernel buffers are bounded both ways, so a stopped reader stops
// the writer. One end may forget a connection without a word, too. Connecting meets no listener (refused), no answer (timeout), a full backlog (tried again, then timeout).

import type { Connection, Net, NetAddress } from "../runtime.ts";
import type { Scheduler, SimulatedLife } from "./scheduler.ts";
import { createNetworkCounters, Link, type LinkOptions, type NetworkCounters } from "./link.ts";
import { connectPair, SimulatedConnection } from "./connection.ts";
import { SimulatedListener } from "./listener.ts";
import { type Deferred, deferred } from "../../base/async.ts";
import { assert, ConfigError, IoError } from "../../base/errors.ts";
import { requireAlive } from "./scheduler.ts";

/** Settings of a simulated network; sizes in bytes. */
export interface NetworkOptions extends LinkOptions {
  sendBufferSize: number;
  receiveBufferSize: number;
  /** Connections that wait for `accept`, per listener. */
  backlog: number;
  /** A connection with unacknowledged bytes ends after this long without an answer, milliseconds. */
  giveUpMs: number;
  /** What waited on a cut link is sent again up to this long after it opened, milliseconds. */
  retransmitMaxMs: number;
}

/** A healthy, quick network that still cuts and glues bytes. */
export const DEFAULT_NETWORK_OPTIONS: NetworkOptions = {
  latencyMinUs: 50,
  latencyMaxUs: 500,
  segmentSizeMax: 64 * 1024,
  splitPerMillion: 50_000,
  coalescePerMillion: 500_000,
  resetPerMillion: 0,
  clogPerMillion: 0,
  clogMaxUs: 200_000,
  connectLossPerMillion: 0,
  sendBufferSize: 256 * 1024,
  receiveBufferSize: 256 * 1024,
  backlog: 4096,
  giveUpMs: 900_000,
  retransmitMaxMs: 200,
};

const LOOPBACK_LATENCY_MAX_US = 50;
const FIRST_EPHEMERAL_PORT = 32_768;
const LAST_PORT = 65_535;
const BACKLOG_RETRY_US = 1_000_000;
const WILDCARDS = new Set(["0.0.0.0", "::"]);
const LOOPBACKS = new Set(["127.0.0.1", "localhost", "::1"]);

/** What holds a port. */
interface PortOwner {
  readonly hostname: string;
  readonly life: SimulatedLife;
  /** `null` for what is reached in another way (HTTP): a TCP connection is refused. */
  readonly listener: SimulatedListener | null;
}

interface NetHost {
  readonly name: string;
  readonly address: string;
  isUp: boolean;
  nextPort: number;
  readonly ports: Map<number, PortOwner[]>;
  readonly connections: Set<SimulatedConnection>;
  /** Connects of its program under way. */
  readonly connecting: Set<ConnectAttempt>;
}

/** All hosts' TCP. */
export class SimulatedNetwork {
  /** The settings new links start with. */
  readonly options: NetworkOptions;
  /** The settings it was made with. */
  readonly baseline: Readonly<NetworkOptions>;
  readonly counters: NetworkCounters = createNetworkCounters();
  readonly #scheduler: Scheduler;
  readonly #hosts: NetHost[] = [];
  readonly #links = new Map<number, Link>();

  constructor(scheduler: Scheduler, options: Partial<NetworkOptions>) {
    this.#scheduler = scheduler;
    this.options = { ...DEFAULT_NETWORK_OPTIONS, ...options };
    this.baseline = { ...this.options };
  }

  /** Adds a host with power on; returns its address. Its index is the count of hosts before it. */
  addHost(name: string): string {
    const index = this.#hosts.length;
    const address = `10.0.${index >>> 8}.${(index & 255) + 1}`;
    const nextPort = FIRST_EPHEMERAL_PORT;
    this.#hosts.push({
      name,
      address,
      isUp: true,
      nextPort,
      ports: new Map(),
      connections: new Set(),
      connecting: new Set(),
    });
    return address;
  }

  /** The port that the host's next connection comes from: ports of earlier ones are lower. */
  nextPort(name: string): number {
    return this.#hosts.find((host) => host.name === name)!.nextPort;
  }

  /** The {@link Net} of one life. */
  netOf(life: SimulatedLife): Net {
    return {
      listen: async (options) => {
        requireAlive(life);
        refuseTls(options);
        const listener = new SimulatedListener(this.#scheduler, life, this.options.backlog);
        const { address, release } = this.bind(life, options, listener);
        listener.start(address, release);
        return listener;
      },
      connect: async (options) => {
        requireAlive(life);
        refuseTls(options);
        return await this.#connect(life, options);
      },
      tlsServer: () => Promise.reject(new ConfigError("Simulated machines have no TLS, wanted no tlsServerCertPath")),
    };
  }

  /** Takes a port. Throws {@link IoError} `inUse` or, for an address that is not this host's, `noAddress`. */
  bind(
    life: SimulatedLife,
    options: { hostname: string; port: number },
    listener: SimulatedListener | null,
  ): { address: NetAddress; release: () => void } {
    this.#scheduler.noteActivity();
    const host = this.#hosts[life.hostIndex]!;
    const hostname = this.#ownAddress(host, options.hostname);
    const port = options.port === 0 ? this.#ephemeralPort(host) : options.port;
    const owners = host.ports.get(port) ?? [];
    const clashes = owners.some((owner) =>
      owner.hostname === hostname || WILDCARDS.has(owner.hostname) || WILDCARDS.has(hostname)
    );
    if (clashes) throw new IoError("inUse", `Cannot listen on ${hostname}:${port}: in use`, "EADDRINUSE");
    const owner: PortOwner = { hostname, life, listener };
    host.ports.set(port, [...owners, owner]);
    return { address: { hostname, port }, release: () => releasePort(host, port, owner) };
  }

  /** Cuts both directions between two hosts. */
  partition(a: string, b: string): void {
    this.cut(a, b);
    this.cut(b, a);
  }

  /** Cuts one direction: nothing sent by `from` reaches `to`. */
  cut(from: string, to: string): void {
    this.link(from, to).setCut(true);
  }

  /** Cuts a host off from all others. */
  isolate(name: string): void {
    for (const other of this.#hosts) if (other.name !== name) this.partition(name, other.name);
  }

  /** Joins two hosts again, or, without arguments, all. */
  heal(a?: string, b?: string): void {
    if (a === undefined || b === undefined) {
      for (const link of this.#links.values()) link.setCut(false);
      return;
    }
    this.link(a, b).setCut(false);
    this.link(b, a).setCut(false);
  }

  /** Makes everything from `from` to `to` late by up to `durationMs`. */
  clog(from: string, to: string, durationMs: number): void {
    this.counters.clogs++;
    this.link(from, to).clog(durationMs);
  }

  /** The direction from one host to another, whose `options` may be changed. */
  link(from: string, to: string): Link {
    return this.#link(this.#indexOf(from), this.#indexOf(to));
  }

  /** Changes settings of all links, present and future. */
  setOptions(options: Partial<LinkOptions>): void {
    Object.assign(this.options, options);
    for (const link of this.#links.values()) Object.assign(link.options, options);
  }

  /** Breaks every connection between two hosts; returns how many. */
  resetConnections(a: string, b: string): number {
    const indexB = this.#indexOf(b);
    const broken = [...this.#hosts[this.#indexOf(a)]!.connections].filter((connection) =>
      connection.isOpen && this.#resolve(this.#indexOf(a), connection.remoteAddress.hostname) === indexB
    );
    for (const connection of broken) connection.reset();
    return broken.length;
  }

  /**
   * One end forgets every connection to the other host without a word, as behind a box that lost its table or a host
   * that was reinstalled: the other end finds out when it sends something. Returns how many were open.
   */
  forgetConnections(at: string, other: string): number {
    const otherIndex = this.#indexOf(other);
    const forgotten = [...this.#hosts[this.#indexOf(at)]!.connections].filter((connection) =>
      connection.isOpen && this.#resolve(this.#indexOf(at), connection.remoteAddress.hostname) === otherIndex
    );
    for (const connection of forgotten) connection.forget();
    return forgotten.length;
  }

  /** Bytes that programs on a host gave to `write` and the kernel has no room for yet. */
  queuedBytes(name: string): number {
    let bytes = 0;
    for (const connection of this.#hosts[this.#indexOf(name)]!.connections) bytes += connection.queuedBytes;
    return bytes;
  }

  /** Connections that a host's kernel still holds. */
  connectionCount(name: string): number {
    return this.#hosts[this.#indexOf(name)]!.connections.size;
  }

  /** Connects of a host's program that are under way; the kernel may hold such a connection already. */
  connectingCount(name: string): number {
    return this.#hosts[this.#indexOf(name)]!.connecting.size;
  }

  /** A program ended: its ports are free, its connections closed by the kernel, or silent when power was lost. */
  endLife(hostIndex: number, isPowerLost: boolean): void {
    const host = this.#hosts[hostIndex]!;
    for (const owners of host.ports.values()) {
      for (const owner of owners) owner.listener?.end(isPowerLost);
    }
    host.ports.clear();
    host.connecting.clear();
    if (isPowerLost) host.isUp = false;
    for (const connection of [...host.connections]) {
      if (isPowerLost) connection.vanish();
      else connection.abandon();
    }
    host.connections.clear();
  }

  /** The host has power again. */
  powerOn(hostIndex: number): void {
    this.#hosts[hostIndex]!.isUp = true;
    for (const link of this.#links.values()) if (link.toIndex === hostIndex) link.releaseParked();
  }

  async #connect(
    life: SimulatedLife,
    options: { hostname: string; port: number; timeoutMs: number },
  ): Promise<Connection> {
    const target = `${options.hostname}:${options.port}`;
    this.#scheduler.noteActivity();
    this.counters.connects++;
    const toIndex = this.#resolve(life.hostIndex, options.hostname);
    if (toIndex < 0) throw new IoError("other", `Cannot connect to ${target}: unknown host`, "ENOTFOUND");
    const attempt = new ConnectAttempt(this.#link(life.hostIndex, toIndex), this.#link(toIndex, life.hostIndex));
    const timer = this.#scheduler.schedule({
      kind: "connect-timeout",
      hostIndex: life.hostIndex,
      life,
      delayUs: options.timeoutMs * 1000,
      run: () => {
        this.counters.connectTimeouts++;
        attempt.end(new IoError("timeout", `Cannot connect to ${target} within ${options.timeoutMs} ms`, "ETIMEDOUT"));
      },
    });
    if (attempt.forth.prng.chance(attempt.forth.options.connectLossPerMillion)) this.counters.connectsLost++;
    else this.#sendSyn(life, attempt, options);
    const host = this.#hosts[life.hostIndex]!;
    host.connecting.add(attempt);
    try {
      return await attempt.done.promise;
    } finally {
      host.connecting.delete(attempt);
      this.#scheduler.cancel(timer);
    }
  }

  #sendSyn(life: SimulatedLife, attempt: ConnectAttempt, to: { hostname: string; port: number }): void {
    const arrive = (): number => {
      if (attempt.isOver || !life.alive) return 0;
      if (!attempt.forth.isOpen) {
        attempt.forth.countParked(attempt.back);
        attempt.forth.park(arrive);
        return -1;
      }
      return this.#onSyn(life, attempt, to, arrive);
    };
    this.#scheduler.schedule({
      kind: "connect",
      hostIndex: attempt.forth.toIndex,
      life: null,
      delayUs: attempt.forth.drawArrivalUs(),
      run: arrive,
    });
  }

  /** A connection request reached its host. */
  #onSyn(
    life: SimulatedLife,
    attempt: ConnectAttempt,
    to: { hostname: string; port: number },
    again: () => number,
  ): number {
    const server = this.#hosts[attempt.forth.toIndex]!;
    const localHostname = LOOPBACKS.has(to.hostname) ? "127.0.0.1" : server.address;
    const listener = this.#listenerAt(server, localHostname, to.port);
    if (listener === null) {
      this.counters.refusals++;
      const refused = new IoError("refused", `Cannot connect to ${to.hostname}:${to.port}: refused`, "ECONNREFUSED");
      this.#answer(attempt, () => attempt.end(refused));
      return -2;
    }
    if (listener.isFull) {
      this.counters.backlogOverflows++;
      const { toIndex: hostIndex } = attempt.forth;
      this.#scheduler.schedule({ kind: "connect", hostIndex, life: null, delayUs: BACKLOG_RETRY_US, run: again });
      return -3;
    }
    this.#establish(life, attempt, listener, localHostname, to.port);
    return to.port;
  }

  #establish(
    life: SimulatedLife,
    attempt: ConnectAttempt,
    listener: SimulatedListener,
    serverHostname: string,
    port: number,
  ): void {
    const clientHost = this.#hosts[life.hostIndex]!;
    const serverHost = this.#hosts[attempt.forth.toIndex]!;
    const clientHostname = serverHostname === "127.0.0.1" ? serverHostname : clientHost.address;
    const clientAddress = { hostname: clientHostname, port: this.#ephemeralPort(clientHost) };
    const serverAddress = { hostname: serverHostname, port };
    const { forth, back } = attempt;
    const client = this.#makeEnd(clientHost, life, [forth, back], clientAddress, serverAddress);
    const server = this.#makeEnd(serverHost, listener.life, [back, forth], serverAddress, clientAddress);
    const delayUs = back.drawArrivalUs();
    connectPair({
      scheduler: this.#scheduler,
      counters: this.counters,
      limits: { ...this.options, giveUpUs: this.options.giveUpMs * 1000 },
      client,
      server,
      forth,
      back,
      connectedUs: this.#scheduler.nowUs + delayUs,
    });
    attempt.client = client;
    this.#answer(attempt, () => attempt.succeed(client), delayUs);
    listener.offer(server);
  }

  #makeEnd(
    host: NetHost,
    life: SimulatedLife,
    [link, incomingLink]: readonly [Link, Link],
    localAddress: NetAddress,
    remoteAddress: NetAddress,
  ): SimulatedConnection {
    const connection = new SimulatedConnection({
      scheduler: this.#scheduler,
      counters: this.counters,
      life,
      link,
      incomingLink,
      localAddress,
      remoteAddress,
      onReleased: (released) => host.connections.delete(released),
    });
    host.connections.add(connection);
    return connection;
  }

  /** The packet back to who wanted to connect. */
  #answer(attempt: ConnectAttempt, run: () => void, delayUs = attempt.back.drawArrivalUs()): void {
    const arrive = () => {
      if (attempt.isOver) return;
      if (attempt.back.isOpen) run();
      else attempt.back.park(arrive);
    };
    this.#scheduler.schedule({
      kind: "connected",
      hostIndex: attempt.back.toIndex,
      life: null,
      delayUs,
      run: arrive,
    });
  }

  #listenerAt(host: NetHost, hostname: string, port: number): SimulatedListener | null {
    const owners = host.ports.get(port) ?? [];
    const owner = owners.find((it) => it.hostname === hostname || WILDCARDS.has(it.hostname));
    return owner?.listener ?? null;
  }

  #ephemeralPort(host: NetHost): number {
    for (let tries = 0; tries <= LAST_PORT - FIRST_EPHEMERAL_PORT; tries++) {
      const port = host.nextPort;
      host.nextPort = port === LAST_PORT ? FIRST_EPHEMERAL_PORT : port + 1;
      if (!host.ports.has(port)) return port;
    }
    throw new IoError("inUse", `No free port on ${host.name}`, "EADDRINUSE");
  }

  #ownAddress(host: NetHost, hostname: string): string {
    if (WILDCARDS.has(hostname)) return hostname;
    if (LOOPBACKS.has(hostname)) return "127.0.0.1";
    if (hostname === host.name || hostname === host.address) return host.address;
    throw new IoError("noAddress", `Cannot listen on ${hostname}: not an address of ${host.name}`, "EADDRNOTAVAIL");
  }

  /** Index of the host that an address or a name leads to from `fromIndex`, -1 when unknown. */
  #resolve(fromIndex: number, hostname: string): number {
    if (LOOPBACKS.has(hostname) || WILDCARDS.has(hostname)) return fromIndex;
    return this.#hosts.findIndex((host) => host.name === hostname || host.address === hostname);
  }

  #indexOf(name: string): number {
    const index = this.#hosts.findIndex((host) => host.name === name);
    assert(index >= 0, `No host "${name}"`);
    return index;
  }

  #link(fromIndex: number, toIndex: number): Link {
    const key = fromIndex * 65_536 + toIndex;
    let link = this.#links.get(key);
    if (link === undefined) {
      const options: LinkOptions = { ...this.options };
      if (fromIndex === toIndex) {
        options.latencyMinUs = Math.min(options.latencyMinUs, LOOPBACK_LATENCY_MAX_US);
        options.latencyMaxUs = Math.min(options.latencyMaxUs, LOOPBACK_LATENCY_MAX_US);
      }
      link = new Link({
        fromIndex,
        toIndex,
        options,
        scheduler: this.#scheduler,
        counters: this.counters,
        isHostUp: (index) => this.#hosts[index]!.isUp,
        retransmitMaxUs: this.options.retransmitMaxMs * 1000,
      });
      this.#links.set(key, link);
    }
    return link;
  }
}

function releasePort(host: NetHost, port: number, owner: PortOwner): void {
  const rest = (host.ports.get(port) ?? []).filter((it) => it !== owner);
  if (rest.length > 0) host.ports.set(port, rest);
  else host.ports.delete(port);
}

/** A connection being made, as its client sees it. */
class ConnectAttempt {
  readonly forth: Link;
  readonly back: Link;
  readonly done: Deferred<Connection> = deferred();
  isOver = false;
  /** Its own end, once the server made the connection. */
  client: SimulatedConnection | null = null;

  constructor(forth: Link, back: Link) {
    this.forth = forth;
    this.back = back;
  }

  succeed(client: SimulatedConnection): void {
    if (this.isOver || !client.life.alive) return;
    this.isOver = true;
    this.done.resolve(client);
  }

  end(failure: IoError): void {
    if (this.isOver) return;
    this.isOver = true;
    this.client?.close();
    this.done.reject(failure);
  }
}

function refuseTls(options: { readonly tls?: unknown }): void {
  if (options.tls !== undefined) throw new ConfigError("Simulated machines have no TLS, wanted haTlsEnable false");
}
