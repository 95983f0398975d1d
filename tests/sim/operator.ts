// The operator of a simulated cluster: knows who shall be the master, promotes, demotes and repoints through the admin
// port as a person would, and waits for everybody in the end. It reaches every running node, whatever the network does.

import type { BrokerRole } from "../../src/config/schema.ts";
import type { ClusterListener, SimCluster, SimNode } from "./cluster.ts";
import { isConverged, isDiverged } from "./checkers.ts";
import { Violation } from "./invariants.ts";
import type { Workload } from "./workload.ts";

/** Whether every message can be read by queue. */
function isDispatched(node: SimNode): boolean {
  const { confirmOffset, maxOffset, dispatchBehindBytes } = node.status();
  return confirmOffset === maxOffset && dispatchBehindBytes === 0;
}

/** Within so much world time, ms, everyone follows once the faults are over, or says why not. */
export const CONVERGE_MS = 60_000;

/** Runs the group. */
export class Operator implements ClusterListener {
  /** Who shall be the master. */
  master: SimNode;
  /** Nodes that follow another slave instead of the master. */
  readonly chained = new Map<SimNode, SimNode>();
  /** Nodes left alone for now, such as an old master behind a cut network. */
  readonly ignored = new Set<SimNode>();
  /** A promotion or switchover is under way. */
  busy = false;
  readonly counters = { failovers: 0, switchovers: 0, refusals: 0, resyncs: 0, replacements: 0 };
  readonly #cluster: SimCluster;
  readonly #workload: Workload;
  readonly #masterRole: BrokerRole;

  constructor(cluster: SimCluster, workload: Workload, master: SimNode, masterRole: BrokerRole) {
    this.#cluster = cluster;
    this.#workload = workload;
    this.#masterRole = masterRole;
    this.master = master;
    cluster.listeners.push(this);
  }

  /** Whom a node shall follow. */
  masterOf(node: SimNode): SimNode {
    return this.chained.get(node) ?? this.master;
  }

  onUp(node: SimNode): void {
    void this.reconcile(node);
  }

  /** Makes the node what it shall be, as far as it isn't. */
  async reconcile(node: SimNode): Promise<void> {
    if (!node.isUp || this.ignored.has(node)) return;
    const { brokerRole, master, notWritableReason } = node.status();
    if (node === this.master) {
      if (brokerRole === "SLAVE") await this.#promote(node);
      // It met another master at its start, one that was given up. Who decides which of the two it is, says so.
      else if (notWritableReason?.startsWith("Started read-only") === true) {
        await node.ask(({ admin }) => admin.setFenced(false));
      }
      return;
    }
    const masterAddress = this.masterOf(node).haAddress;
    if (brokerRole !== "SLAVE") {
      const outcome = await node.ask(({ admin }) => admin.switchRole({ role: "SLAVE", masterAddress }));
      // A node on its way down is demoted when it comes back.
      if (outcome?.type === "refused" && !outcome.reason.startsWith("The node stops")) {
        this.#cluster.report("noBug", `Demoting ${node.name} was refused: ${outcome.reason}`);
      }
    } else if (master?.masterAddr !== masterAddress) {
      await node.ask(({ admin }) => admin.updateMasterAddress(masterAddress));
    }
  }

  /**
   * The master is gone, or given up: of the slaves seen to follow it, or else of all, the one with the longest log takes
   * over. False without one.
   */
  async failOver(): Promise<boolean> {
    if (this.busy) return false;
    const [first, ...others] = this.#candidates();
    if (first === undefined) return false;
    this.busy = true;
    try {
      const isElected = await this.#promote(first, [first, ...others]);
      if (!isElected) return false;
      this.counters.failovers++;
      await this.#follow(first);
      return true;
    } finally {
      this.busy = false;
    }
  }

  /** Whoever could be the master instead of the present one, the best first. */
  #candidates(): SimNode[] {
    const candidates = this.#cluster.nodes.filter((node) =>
      node.isUp && node !== this.master && !this.ignored.has(node) && !node.isDamaged
    );
    const rank = (node: SimNode) => (node.isTrusted ? 1 : 0);
    return candidates.sort((a, b) => rank(b) - rank(a) || b.status().maxOffset - a.status().maxOffset);
  }

  /** A broken disk, or a lost machine: the node starts over with an empty one, as a slave. False when it has to wait. */
  async replace(node: SimNode): Promise<boolean> {
    if (this.busy) return false;
    node.host.resume();
    if (node === this.master && !(await this.failOver())) return false;
    if (!node.isDown) node.kill();
    node.replaceDisk(null);
    this.chained.delete(node);
    const brokerId = node.options.brokerId ?? this.#cluster.nodes.length;
    node.options = { ...node.options, brokerRole: "SLAVE", brokerId, haMasterAddress: this.master.haAddress };
    this.counters.replacements++;
    await node.start();
    return true;
  }

  /** The planned one: hold off puts, wait for equal ends, promote, demote. Back to the start when that takes too long. */
  async switchOver(to: SimNode): Promise<void> {
    const from = this.master;
    if (this.busy || !from.isUp || !to.isUp || to === from || to.status().master?.verified !== true) return;
    if (from.isDamaged || to.isDamaged) return;
    this.busy = true;
    try {
      const fenced = await from.ask(({ admin }) => admin.setFenced(true));
      if (fenced?.type !== "done") return;
      for (let tries = 0; tries < 50 && !isConverged(to, from); tries++) await this.#sleep(50);
      if (isConverged(to, from) && await this.#promote(to, [to, ...this.#candidates()])) {
        this.counters.switchovers++;
        await this.#follow(to);
      } else await from.ask(({ admin }) => admin.setFenced(false));
    } finally {
      this.busy = false;
    }
  }

  /** All nodes run, nothing else is wrong: waits until all follow. What has truly diverged is restarted to resync. */
  async settle(): Promise<void> {
    this.ignored.clear();
    await this.#converge(() => !this.busy, "The operator is not done");
    await this.#startAll();
    for (const node of this.#cluster.nodes) {
      if (!node.isDamaged) continue;
      const isReplaced = await this.#cluster.drive(this.replace(node));
      if (!isReplaced) throw new Violation("converges", `Nobody can take over from ${node.name}, which is damaged`);
    }
    await this.#startAll();
    for (const node of this.#cluster.nodes) await this.#cluster.drive(this.reconcile(node));
    await this.#converge(() => this.#allDecided(), "Some slave neither follows nor says why not");
    for (const slave of this.#slaves()) {
      if (isConverged(slave, this.masterOf(slave))) continue;
      await this.#tryAgain(slave);
    }
    const allFollow = () => this.#slaves().every((slave) => isConverged(slave, this.masterOf(slave)));
    await this.#converge(allFollow, "Not all slaves follow");
    await this.#converge(() => this.#cluster.nodes.every(isDispatched), "Not all messages are dispatched");
  }

  /** Runs until it is so, within the time a cluster has to come to rest. */
  async #converge(until: () => boolean, what: string): Promise<void> {
    try {
      await this.#cluster.run(until, CONVERGE_MS);
    } catch (error) {
      if (!(error instanceof Violation) || error.invariant !== "converges") throw error;
      throw new Violation("converges", `${what} within ${CONVERGE_MS} ms of world time: ${this.#describe()}`);
    }
  }

  #describe(): string {
    return this.#cluster.nodes.map((node) => {
      if (!node.isUp) return `${node.name} is down`;
      const { brokerRole, maxOffset, confirmOffset, master, dispatchBehindBytes } = node.status();
      const follows = master === null ? "" : ` ${master.state} of ${master.masterAddr} ${master.reason ?? ""}`;
      return `${node.name} ${brokerRole} ${confirmOffset}/${maxOffset} dispatch -${dispatchBehindBytes}${follows}`;
    }).join("; ");
  }

  /** A stopped slave tries again (its master may have been shorter only for a while); then it must say the truth. */
  async #tryAgain(slave: SimNode): Promise<void> {
    const master = this.masterOf(slave);
    await this.#cluster.drive(slave.ask(({ admin }) => admin.updateMasterAddress(master.haAddress)));
    await this.#converge(() => this.#isDecided(slave), `${slave.name} neither follows nor says why not`);
    if (isConverged(slave, master)) return;
    const { reason } = slave.status().master!;
    const isHole = slave.status().maxOffset < master.status().minOffset;
    if (!isHole && !isDiverged(slave, master)) {
      throw new Violation("trueStops", `${slave.name} says "${reason}", which is not so`);
    }
    this.counters.resyncs++;
    this.#cluster.log(slave.name, "info", `== resync: ${reason}`);
    await this.#cluster.drive(slave.stop());
    slave.options = { ...slave.options, resync: true };
    await this.#cluster.drive(slave.start());
  }

  async #startAll(): Promise<void> {
    await this.#converge(() => this.#cluster.nodes.every((node) => node.isUp || node.isDown), "Some node hangs");
    for (const node of this.#cluster.nodes) {
      if (!node.isUp) await this.#cluster.drive(node.start());
      if (node.isUp) continue;
      if (!node.isDamaged) throw new Violation("startsAgain", `${node.name} does not start: ${node.failure}`);
    }
  }

  #slaves(): SimNode[] {
    return this.#cluster.nodes.filter((node) => node !== this.master);
  }

  #allDecided(): boolean {
    return this.#slaves().every((slave) => this.#isDecided(slave));
  }

  /** Follows with all there is, or has stopped and says why. */
  #isDecided(slave: SimNode): boolean {
    const { master } = slave.status();
    if (master?.state === "SUSPEND") return master.reason !== null;
    return isConverged(slave, this.masterOf(slave));
  }

  async #promote(node: SimNode, candidates: readonly SimNode[] = [node]): Promise<boolean> {
    const from = this.master;
    if (node !== from) this.#elect(node, from, candidates);
    const outcome = await node.ask(({ admin }) => admin.switchRole({ role: this.#masterRole, force: true }));
    if (outcome?.type === "done") return true;
    this.counters.refusals++;
    if (node !== from) this.#elect(from, node, []);
    return false;
  }

  #elect(node: SimNode, from: SimNode, candidates: readonly SimNode[]): void {
    for (const listener of this.#cluster.listeners) listener.onElected?.(node, from, candidates);
  }

  /** `to` is the master from now on: producers and slaves go to it. */
  async #follow(to: SimNode): Promise<void> {
    this.master = to;
    this.chained.clear();
    this.#workload.target = to;
    this.#cluster.log(to.name, "info", "== master from now on");
    for (const node of this.#cluster.nodes) await this.reconcile(node);
  }

  #sleep(durationMs: number): Promise<void> {
    return new Promise((resolve) => this.#cluster.world.after(durationMs, resolve));
  }
}
