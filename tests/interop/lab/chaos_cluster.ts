// The machines of a chaos round, the links between them and their operator: who leads, who follows whom through which
// proxy, how a dead or cut-off master is replaced, how an old one comes back. It does what the documents tell an operator
// to do and nothing cleverer; faults are the schedule's.

import * as fs from "node:fs";
import * as path from "node:path";
import { ChaosNode, FILE_SIZE, type MasterAddress, type NodeKind, type NodeSetting } from "./chaos_node.ts";
import type { ChaosLoad } from "./chaos_load.ts";
import { FaultyProxy, type LinkCounters, type LinkFault } from "./faulty_proxy.ts";
import type { Generator } from "./generator.ts";
import { readLog } from "./log_records.ts";
import { freeBrokerPort, pause, until } from "./processes.ts";

/** Within so long after the faults are over everyone follows, or says why not and follows after `--resync`, ms. */
export const CONVERGE_MS = 60_000;
/** Puts offered to a master that was replaced and does not know it. */
const ZOMBIE_PUTS = 12;

/** How a master is lost. */
export type FailoverHow =
  /** SIGKILL. */
  | "kill"
  /** SIGSTOP; it goes on once it is replaced. */
  | "freeze"
  /** Its links are cut; it goes on taking puts all the time. */
  | "cut"
  /** All slaves but Apache's lose their links, and then it is killed: only Apache's holds what was promised last. */
  | "starve";

/** A master is lost while it works: not before it has promised so many more. */
const PROMISED_BEFORE = 20;
/** How far Apache's slave gets ahead of the others then, bytes. */
const STARVE_BYTES = 50_000;

/** The way from one slave to one master: its HA port, and where slaves expect them, its remoting and VIP ports. */
export class Link {
  readonly address: MasterAddress;
  readonly #proxies: readonly FaultyProxy[];

  private constructor(port: number, proxies: readonly FaultyProxy[]) {
    this.address = { ha: `127.0.0.1:${port + 1}`, remoting: `127.0.0.1:${port}` };
    this.#proxies = proxies;
  }

  static async open(master: ChaosNode, random: Generator, counters: LinkCounters): Promise<Link> {
    const port = await freeBrokerPort();
    const proxies: FaultyProxy[] = [];
    for (const ahead of [-2, 0, 1]) {
      proxies.push(await FaultyProxy.listen(port + ahead, master.port + ahead, random, counters));
    }
    return new Link(port, proxies);
  }

  set(fault: LinkFault): void {
    for (const proxy of this.#proxies) proxy.set(fault);
  }

  reset(): void {
    for (const proxy of this.#proxies) proxy.reset();
  }

  heal(): void {
    for (const proxy of this.#proxies) proxy.heal();
  }

  close(): void {
    for (const proxy of this.#proxies) proxy.close();
  }
}

/** What happened to a cluster beside its faults. */
export interface ClusterCounters {
  failovers: number;
  apachePromotions: number;
  takeovers: number;
  zombiePuts: number;
  divergences: number;
  resyncs: number;
}

/** A count of nothing yet. */
export function noClusterCounts(): ClusterCounters {
  return { failovers: 0, apachePromotions: 0, takeovers: 0, zombiePuts: 0, divergences: 0, resyncs: 0 };
}

/** The machines and their operator. */
export class ChaosCluster {
  readonly nodes: readonly ChaosNode[];
  master: ChaosNode;
  readonly #links = new Map<string, Promise<Link>>();
  readonly #random: Generator;
  readonly #linkCounters: LinkCounters;
  readonly #counters: ClusterCounters;
  readonly #load: ChaosLoad;
  readonly #say: (line: string) => void;
  /** What runs on an Apache machine once its broker was a master and died. */
  readonly #heir: NodeKind;

  private constructor(nodes: readonly ChaosNode[], parts: ClusterParts) {
    this.nodes = nodes;
    this.master = nodes[0]!;
    this.#random = parts.random;
    this.#linkCounters = parts.linkCounters;
    this.#counters = parts.counters;
    this.#load = parts.load;
    this.#say = parts.say;
    this.#heir = parts.heir;
  }

  /** Machines of these kinds, the first one the master; nothing runs yet. */
  static async create(kinds: readonly NodeKind[], setting: NodeSetting, parts: ClusterParts): Promise<ChaosCluster> {
    const nodes: ChaosNode[] = [];
    for (const [at, kind] of kinds.entries()) {
      nodes.push(new ChaosNode(`n${at}`, kind, await freeBrokerPort(), setting));
    }
    return new ChaosCluster(nodes, parts);
  }

  get slaves(): ChaosNode[] {
    return this.nodes.filter((node) => node !== this.master);
  }

  /** The link over which a slave reaches a master. */
  link(slave: ChaosNode, master: ChaosNode = this.master): Promise<Link> {
    const key = `${slave.name}-${master.name}`;
    let link = this.#links.get(key);
    if (link === undefined) this.#links.set(key, link = Link.open(master, this.#random, this.#linkCounters));
    return link;
  }

  /** Starts everything, the master first; the load as soon as a slave is there. Apache slaves join while it runs. */
  async start(): Promise<void> {
    await this.master.start(null);
    const joining = this.slaves.map((slave) => this.startSlave(slave));
    await Promise.race(joining);
    await this.#load.target(this.master);
    await Promise.all(joining);
  }

  /** Starts a slave of the present master. */
  async startSlave(slave: ChaosNode, ...flags: string[]): Promise<void> {
    await slave.start((await this.link(slave)).address, ...flags);
  }

  /** Throws when a node ended that nobody ended. */
  check(): void {
    for (const node of this.nodes) node.check();
  }

  // ---- failover ----

  /** Loses the master, promotes the slave that holds most, lets all follow it, and brings the old master back. */
  async failOver(how: FailoverHow): Promise<void> {
    const old = this.master;
    // Apache's broker can't be demoted: one that lives on could only be killed.
    const way = old.isApache || how === "starve" ? "kill" : how;
    const before = this.#load.promised;
    await until(`${old} to promise more`, CONVERGE_MS, () => this.#load.promised >= before + PROMISED_BEFORE);
    if (how === "starve") await this.#starve();
    if (way === "kill") await old.kill();
    if (way === "freeze") old.pause();
    await this.#isolate(old);
    if (way !== "cut") await this.#load.target(null);
    const next = await this.#longest();
    this.#say(`failover (${how === way ? how : `${how}, ${way}`}) from ${old} to ${next}`);
    this.#counters.failovers++;
    if (next.isApache) {
      this.#counters.apachePromotions++;
      await next.start(null);
    } else {
      // Sure that the old master is out: the ten seconds of silence that a promotion otherwise wants need not be waited for.
      await next.twinlog.admin("PUT", "/role", { role: "SYNC_MASTER", force: true });
    }
    this.master = next;
    for (const slave of this.slaves) {
      if (slave === old) continue;
      await slave.follow((await this.link(slave)).address);
    }
    this.#load.assertHeld(readLog(next.store, FILE_SIZE), `${next}, just promoted`);
    await this.#load.target(next);
    await this.#bringBack(old, way);
  }

  async #starve(): Promise<void> {
    const apache = this.slaves.find((slave) => slave.isApache);
    if (apache === undefined) return;
    await apache.waitForMax(await this.master.maxOffset(), 30_000);
    for (const slave of this.slaves) if (slave !== apache) (await this.link(slave)).set({ type: "refuse" });
    await apache.waitForMax(await this.master.maxOffset() + STARVE_BYTES, 30_000);
  }

  /** No slave reaches it any more. All slaves run: one that is down may be the one that holds most. */
  async #isolate(old: ChaosNode): Promise<void> {
    for (const slave of this.slaves) (await this.link(slave, old)).set({ type: "refuse" });
    for (const slave of this.slaves) {
      if (slave.state === "paused") slave.resume();
      if (slave.state === "down") await slave.start((await this.link(slave, old)).address);
    }
    for (const slave of this.slaves) {
      await until(`${slave} to have lost its master`, 20_000, async () => {
        if (slave.isApache) return await this.#standsStill(slave);
        return (await slave.twinlog.ha(5000)).master?.state !== "TRANSFER";
      });
    }
  }

  async #standsStill(slave: ChaosNode): Promise<boolean> {
    const before = await slave.maxOffset();
    await pause(300);
    return before === await slave.maxOffset();
  }

  /**
   * The slave with the longest log; all acknowledged messages are in it. An Apache slave may end within a record, which its
   * recovery cuts: when it seems to be the longest it is stopped, and its files tell.
   */
  async #longest(): Promise<ChaosNode> {
    const ends = new Map<ChaosNode, number>();
    for (const slave of this.slaves) if (!slave.isApache) ends.set(slave, await slave.maxOffset());
    let [longest, end] = [...ends].sort((a, b) => b[1] - a[1])[0]!;
    for (const slave of this.slaves.filter((one) => one.isApache)) {
      if (await slave.maxOffset() <= end) continue;
      await slave.kill();
      const whole = readLog(slave.store, FILE_SIZE).end;
      this.#say(`${slave} ends at ${whole}, ${longest} at ${end}`);
      if (whole > end) [longest, end] = [slave, whole];
      // Its recovery cuts the torn record before it could be followed by another master's.
      else await slave.start((await this.link(slave, longest)).address);
    }
    return longest;
  }

  /** The old master: it learns that it is none any more, and follows; what it alone had is set aside. */
  async #bringBack(old: ChaosNode, way: FailoverHow): Promise<void> {
    if (way === "freeze") old.resume();
    if (way === "kill" && old.isApache) {
      // Apache compares nothing when it comes back as a slave. Twinlog on its store does.
      old.takeOver(this.#heir);
      this.#counters.takeovers++;
      await this.startSlave(old);
    } else {
      if (way === "kill") await old.start(null);
      await this.#expectNoPromise(old);
      await old.follow((await this.link(old)).address);
    }
    for (const slave of this.nodes) if (slave !== old) (await this.link(slave, old)).heal();
    (await this.link(old)).heal();
    await this.settleSlave(old);
  }

  /** A master without slaves promises nothing, whatever it believes to be. */
  async #expectNoPromise(old: ChaosNode): Promise<void> {
    for (let i = 0; i < ZOMBIE_PUTS; i++) {
      const status = await this.#load.put(old);
      if (status === "PUT_OK") throw new Error(`${old} answered PUT_OK after it was replaced by ${this.master}`);
      this.#counters.zombiePuts++;
    }
  }

  // ---- convergence ----

  /** Waits until a slave follows. One that says it has diverged must have, and follows after `--resync`. */
  async settleSlave(slave: ChaosNode): Promise<void> {
    if (slave.isApache) return;
    const decided = () => this.#decision(slave);
    if (await until(`${slave} to follow or say why not`, CONVERGE_MS, decided) === "following") return;
    // Its master may have been shorter than it for a while only: asked again, it must say the truth.
    await slave.follow((await this.link(slave)).address);
    if (await until(`${slave} to follow or say why not`, CONVERGE_MS, decided) === "following") return;
    const { master, maxOffset } = await slave.twinlog.ha();
    this.#say(`${slave} stopped: ${master.reason}`);
    const end = await this.master.maxOffset();
    if (maxOffset <= end && !this.#differ(slave, this.master, maxOffset)) {
      throw new Error(`${slave} says "${master.reason}", but its log up to ${maxOffset} is that of ${this.master}`);
    }
    this.#counters.divergences++;
    await slave.stop();
    await this.startSlave(slave, "--resync");
    await until(
      `${slave} to follow after --resync`,
      CONVERGE_MS,
      async () => await this.#decision(slave) === "following",
    );
    this.#counters.resyncs++;
  }

  async #decision(slave: ChaosNode): Promise<"following" | "stopped" | null> {
    slave.check();
    const { master } = await slave.twinlog.ha().catch(() => ({ master: null }));
    if (master?.state === "SUSPEND") return "stopped";
    return master?.verified === true ? "following" : null;
  }

  #differ(a: ChaosNode, b: ChaosNode, end: number): boolean {
    for (let start = 0; start < end; start += FILE_SIZE) {
      const name = path.join("commitlog", String(start).padStart(20, "0"));
      const size = Math.min(FILE_SIZE, end - start);
      const [left, right] = [a, b].map(({ store }) => fs.readFileSync(path.join(store, name)).subarray(0, size));
      if (Buffer.compare(left!, right!) !== 0) return true;
    }
    return false;
  }

  /** All faults are over and nobody puts: all nodes run, follow, hold all there is and have dispatched it. */
  async converge(): Promise<number> {
    for (const link of this.#links.values()) (await link).heal();
    for (const slave of this.slaves) {
      if (slave.state === "paused") slave.resume();
      if (slave.state === "down") await this.startSlave(slave);
    }
    for (const slave of this.slaves) await this.settleSlave(slave);
    const end = await this.master.maxOffset();
    for (const slave of this.slaves) await slave.waitForMax(end, CONVERGE_MS);
    for (const node of this.nodes) {
      await until(`${node} to dispatch`, CONVERGE_MS, async () => await node.dispatchBehindBytes() === 0);
    }
    this.check();
    return end;
  }

  /** Ends the links; nodes are the caller's to stop. */
  async close(): Promise<void> {
    for (const link of this.#links.values()) (await link).close();
  }
}

/** What a cluster is given. */
export interface ClusterParts {
  readonly random: Generator;
  readonly load: ChaosLoad;
  readonly linkCounters: LinkCounters;
  readonly counters: ClusterCounters;
  readonly heir: NodeKind;
  readonly say: (line: string) => void;
}
