// A small stage for hand-written scenarios: one master, some slaves, the checker of every step, and the words that make
// a scenario read as prose. The random runs (seed_run.ts) set up their own.

import assert from "node:assert/strict";
import type { Config } from "../../src/config/schema.ts";
import { endOf, isConverged, StepChecker } from "./checkers.ts";
import { SimCluster, type SimNode } from "./cluster.ts";
import { CONVERGE_MS, Operator } from "./operator.ts";
import { checkAtRest, checkQuiet } from "./rest_checks.ts";
import { Workload } from "./workload.ts";

/** One scenario's cluster. */
export class Scene {
  readonly cluster: SimCluster;
  readonly workload: Workload;
  readonly checker: StepChecker;
  readonly operator: Operator;
  readonly first: SimNode;
  readonly #shared: Partial<Config>;

  private constructor(seed: number, shared: Partial<Config>) {
    this.#shared = shared;
    this.cluster = new SimCluster(seed);
    this.first = this.cluster.add("first", shared);
    this.workload = new Workload(this.cluster, { noWaitPerMillion: 0 });
    this.operator = new Operator(this.cluster, this.workload, this.first, shared.brokerRole ?? "ASYNC_MASTER");
    this.checker = new StepChecker(this.cluster, this.workload);
  }

  /** A running master `first`, and running slaves of these names. `shared` are settings of all nodes. */
  static async of(seed: number, slaves: readonly string[], shared: Partial<Config> = {}): Promise<Scene> {
    const scene = new Scene(seed, shared);
    await scene.cluster.drive(scene.first.start());
    for (const name of slaves) await scene.join(name);
    return scene;
  }

  /** Adds a slave of the master, or of another slave, and starts it. */
  async join(name: string, options: Partial<Config> = {}, master: SimNode = this.operator.master): Promise<SimNode> {
    const slave = this.cluster.add(name, {
      ...this.#shared,
      brokerRole: "SLAVE",
      brokerId: this.cluster.nodes.length,
      haMasterAddress: master.haAddress,
      ...options,
    });
    if (master !== this.operator.master) this.operator.chained.set(slave, master);
    await this.cluster.drive(slave.start());
    return slave;
  }

  node(name: string): SimNode {
    const node = this.cluster.nodes.find((each) => each.name === name);
    assert.ok(node, `No node "${name}"`);
    return node;
  }

  /** Puts messages until the master's log has grown by so many bytes. */
  async fill(bytes: number, node: SimNode = this.operator.master): Promise<void> {
    await this.cluster.drive(this.workload.fill(node, bytes));
  }

  /** Runs until the slave holds all its master has. */
  async follows(slave: SimNode, master: SimNode = this.operator.masterOf(slave)): Promise<void> {
    await this.cluster.run(() => isConverged(slave, master), CONVERGE_MS);
  }

  /** Runs until the slave has stopped following; its reason must match. */
  async stops(slave: SimNode, reason: RegExp): Promise<void> {
    await this.cluster.run(() => slave.isUp && slave.status().master?.state === "SUSPEND", CONVERGE_MS);
    assert.match(slave.status().master!.reason!, reason);
  }

  /** Restarts a node with changed settings. */
  async restart(node: SimNode, options: Partial<Config> = {}): Promise<void> {
    if (node.isUp) await this.cluster.drive(node.stop());
    node.options = { ...node.options, ...options };
    await this.cluster.drive(node.start());
    assert.ok(node.isUp, `${node.name} does not start: ${node.failure}`);
  }

  /** Every message that was promised is in the node's log. */
  holdsAllPromised(node: SimNode): void {
    const promised = this.workload.ledger.filter((put) => put.outcome?.status === "PUT_OK");
    assert.ok(promised.length > 0);
    for (const put of promised) {
      assert.ok(put.holders.has(node.name) && endOf(put) <= node.status().maxOffset, `Put ${put.id} is lost`);
    }
  }

  /** The end of a scenario: everybody follows, holds the same, and leaves a sound store behind. */
  async ends(): Promise<void> {
    this.workload.stop();
    await this.operator.settle();
    await checkQuiet(this.cluster, this.operator.master, this.workload, this.checker.invariants);
    await checkAtRest(this.cluster, this.checker.invariants);
  }
}
