// The operator of a simulated cluster: knows who shall be the master, promotes, demotes and repoints through the admin
// port as a person would, and waits for everybody in the end. It reaches every running node, whatever the network does.

import type { BrokerRole } from "../../src/config/schema.ts";
import type { ClusterListener, SimCluster, SimNode } from "./cluster.ts";
import { isConverged, isDiverged } from "./checkers.ts";
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
  readonly counters = { failovers: 0, switchovers: 0, refusals: 0 };
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
    const { brokerRole, master } = node.status();
    if (node === this.master) {
      if (brokerRole === "SLAVE") await this.#promote(node);
      return;
    }
    const masterAddress = this.masterOf(node).haAddress;
    if (brokerRole !== "SLAVE") {
      const outcome = await node.ask(({ admin }) => admin.switchRole({ role: "SLAVE", masterAddress }));
      if (outcome?.type === "refused") this.#cluster.report(`Demoting ${node.name} was refused: ${outcome.reason}`);
    } else if (master?.masterAddr !== masterAddress) {
      await node.ask(({ admin }) => admin.updateMasterAddress(masterAddress));
    }
  }

  /** The master is gone, or given up: the slave with the longest log takes over. Does nothing without a slave. */
  async failOver(): Promise<void> {
    if (this.busy) return;
    const candidates = this.#cluster.nodes.filter((node) =>
      node.isUp && node !== this.master && !this.ignored.has(node)
    );
    const longest = candidates.sort((a, b) => b.status().maxOffset - a.status().maxOffset)[0];
    if (longest === undefined) return;
    this.busy = true;
    try {
      if (await this.#promote(longest)) {
        this.counters.failovers++;
        await this.#follow(longest);
      }
    } finally {
      this.busy = false;
    }
  }

  /** The planned one: hold off puts, wait for equal ends, promote, demote. Back to the start when that takes too long. */
  async switchOver(to: SimNode): Promise<void> {
    const from = this.master;
    if (this.busy || !from.isUp || !to.isUp || to === from || to.status().master?.verified !== true) return;
    this.busy = true;
    try {
      const fenced = await from.ask(({ admin }) => admin.setFenced(true));
      if (fenced?.type !== "done") return;
      for (let tries = 0; tries < 50 && !isConverged(to, from); tries++) await this.#sleep(50);
      if (isConverged(to, from) && await this.#promote(to)) {
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
    await this.#cluster.run(() => !this.busy, CONVERGE_MS);
    await this.#startAll();
    for (const node of this.#cluster.nodes) await this.#cluster.drive(this.reconcile(node));
    await this.#cluster.run(() => this.#allDecided(), CONVERGE_MS);
    for (const slave of this.#slaves()) {
      if (isConverged(slave, this.masterOf(slave))) continue;
      await this.#tryAgain(slave);
    }
    await this.#cluster.run(
      () => this.#slaves().every((slave) => isConverged(slave, this.masterOf(slave))),
      CONVERGE_MS,
    );
    await this.#cluster.run(() => this.#cluster.nodes.every(isDispatched), CONVERGE_MS);
  }

  /** A stopped slave tries again (its master may have been shorter only for a while); then it must say the truth. */
  async #tryAgain(slave: SimNode): Promise<void> {
    const master = this.masterOf(slave);
    await this.#cluster.drive(slave.ask(({ admin }) => admin.updateMasterAddress(master.haAddress)));
    await this.#cluster.run(() => this.#isDecided(slave), CONVERGE_MS);
    if (isConverged(slave, master)) return;
    const { reason } = slave.status().master!;
    const isHole = slave.status().maxOffset < master.status().minOffset;
    if (!isHole && !isDiverged(slave, master)) throw new Error(`${slave.name} says "${reason}", which is not so`);
    this.#cluster.log(slave.name, "info", `== resync: ${reason}`);
    await this.#cluster.drive(slave.stop());
    slave.options = { ...slave.options, resync: true };
    await this.#cluster.drive(slave.start());
  }

  async #startAll(): Promise<void> {
    await this.#cluster.run(() => this.#cluster.nodes.every((node) => node.isUp || node.isDown), CONVERGE_MS);
    for (const node of this.#cluster.nodes) {
      if (!node.isUp) await this.#cluster.drive(node.start());
      if (!node.isUp) throw new Error(`${node.name} does not start: ${node.failure}`, { cause: node.failure });
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

  async #promote(node: SimNode): Promise<boolean> {
    const outcome = await node.ask(({ admin }) => admin.switchRole({ role: this.#masterRole, force: true }));
    if (outcome?.type === "done") return true;
    this.counters.refusals++;
    return false;
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
