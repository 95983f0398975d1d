// What goes wrong in a simulation: one table of faults, each with its weight, and the nemesis that draws them. A fault
// begins at once and undoes itself after a while of world time; `calm` ends whatever is left. What must hold in spite
// of them is for checkers.ts.

import { DEFAULT_DISK_OPTIONS, DEFAULT_NETWORK_OPTIONS, type Prng } from "../../src/runtime/simulated/mod.ts";
import type { StepChecker } from "./checkers.ts";
import type { SimCluster, SimNode } from "./cluster.ts";
import type { Operator } from "./operator.ts";
import type { Workload } from "./workload.ts";

/** What faults may touch. */
export interface FaultScene {
  readonly cluster: SimCluster;
  readonly operator: Operator;
  readonly workload: Workload;
  readonly checker: StepChecker;
}

type Fault = (scene: FaultScene, prng: Prng, later: (delayMs: number, undo: () => void) => void) => void;

/** Nodes die and come back; the operator may have promoted another one meanwhile. */
function die(
  scene: FaultScene,
  prng: Prng,
  later: (delayMs: number, undo: () => void) => void,
  how: "kill" | "crash",
): void {
  const { cluster, operator } = scene;
  const node = prng.pick(cluster.nodes);
  if (node.isDown) return;
  // After a failed sync the kernel takes for clean what the disk never got: a loss of power then costs any byte, which no
  // program can help. Such a machine only gets its programs killed.
  const keepsPower = scene.checker.isSuspect(node);
  if (how === "crash" && !keepsPower) node.crash();
  else node.kill();
  const downMs = prng.between(10, 4_000);
  // After the program's end its machine may lose power too, with what only the kernel knew.
  if (how === "kill" && !keepsPower && prng.chance(250_000)) {
    later(prng.nextInt(10), () => {
      if (!node.isDown) return;
      scene.checker.onPowerLoss(node);
      node.crash();
    });
  }
  if (node === operator.master && prng.chance(600_000)) {
    later(prng.between(5, downMs), () => {
      if (operator.master === node && node.isDown) void operator.failOver();
    });
  }
  later(downMs, () => void node.start());
}

const FAULTS: Readonly<Record<string, { readonly weight: number; readonly fault: Fault }>> = {
  weather: {
    weight: 10,
    fault: ({ cluster }, prng) => {
      const latencyMinUs = prng.pick([20, 50, 1_000]);
      cluster.world.network.setOptions({
        latencyMinUs,
        latencyMaxUs: latencyMinUs + prng.pick([0, 100, 2_000, 40_000]),
        splitPerMillion: prng.pick([0, 50_000, 500_000]),
        coalescePerMillion: prng.pick([0, 500_000, 1_000_000]),
        resetPerMillion: prng.pick([0, 0, 500, 5_000]),
        connectLossPerMillion: prng.pick([0, 0, 100_000]),
        clogPerMillion: prng.pick([0, 0, 2_000]),
      });
    },
  },
  reset: {
    weight: 8,
    fault: ({ cluster }, prng) => {
      const [a, b] = pickPair(cluster, prng);
      cluster.world.network.resetConnections(a.name, b.name);
    },
  },
  partition: {
    weight: 8,
    fault: ({ cluster }, prng, later) => {
      const { network } = cluster.world;
      const [a, b] = pickPair(cluster, prng);
      if (prng.chance(500_000)) network.partition(a.name, b.name);
      else network.cut(a.name, b.name);
      later(prng.between(50, 5_000), () => network.heal(a.name, b.name));
    },
  },
  clog: {
    weight: 6,
    fault: ({ cluster }, prng) => {
      const [a, b] = pickPair(cluster, prng);
      cluster.world.network.clog(a.name, b.name, prng.between(10, 3_000));
    },
  },
  kill: { weight: 8, fault: (scene, prng, later) => die(scene, prng, later, "kill") },
  crash: { weight: 8, fault: (scene, prng, later) => die(scene, prng, later, "crash") },
  stoppedReader: {
    weight: 6,
    fault: ({ cluster }, prng, later) => {
      const { host } = prng.pick(cluster.nodes);
      if (host.isPaused) return;
      host.pause();
      later(prng.between(100, 5_000), () => host.resume());
    },
  },
  slowDisk: {
    weight: 6,
    fault: ({ cluster }, prng, later) => {
      const { disk } = prng.pick(cluster.nodes).host;
      disk.options.syncLatencyMaxUs = prng.pick([4_000, 50_000, 400_000]);
      if (prng.chance(500_000)) disk.stall(prng.between(50, 2_000));
      later(prng.between(500, 4_000), () => {
        disk.options.syncLatencyMaxUs = DEFAULT_DISK_OPTIONS.syncLatencyMaxUs;
      });
    },
  },
  fullDisk: {
    weight: 5,
    fault: ({ cluster }, prng, later) => {
      const { disk } = prng.pick(cluster.nodes).host;
      const usedBytes = disk.usage.totalBytes - disk.usage.freeBytes;
      disk.options.capacityBytes = usedBytes + prng.nextInt(16) * 1024;
      later(prng.between(200, 3_000), () => {
        disk.options.capacityBytes = DEFAULT_DISK_OPTIONS.capacityBytes;
      });
    },
  },
  failedWrite: {
    weight: 4,
    fault: ({ cluster }, prng, later) => {
      const times = prng.between(1, 3);
      later(1_000, prng.pick(cluster.nodes).host.disk.failNext({ operation: "write", path: "/commitlog/", times }));
    },
  },
  failedRead: {
    weight: 3,
    fault: ({ cluster }, prng, later) => {
      const node = prng.pick(cluster.nodes);
      // Not while it starts: a store that can't be read does not, and shouldn't.
      if (node.isUp) later(500, node.host.disk.failNext({ operation: "read", path: "/commitlog/" }));
    },
  },
  failedSync: {
    weight: 3,
    fault: ({ cluster, checker }, prng, later) => {
      const node = prng.pick(cluster.nodes);
      if (!node.isUp) return;
      checker.suspect(node);
      const disarm = node.host.disk.failNext({ operation: "sync", path: "/commitlog/" });
      later(1_500, () => {
        disarm();
        later(prng.between(0, 1_000), () => void node.start());
      });
    },
  },
  /** A wall clock is set, forth or back; or a machine's time runs at another pace. */
  wrongClock: {
    weight: 4,
    fault: ({ cluster }, prng) => {
      const { clock } = prng.pick(cluster.nodes).host;
      if (prng.chance(300_000)) clock.setDrift(prng.between(-50_000, 50_000));
      else clock.step(prng.pick([-3_600_000, -10_000, -2_000, 500, 10_000, 3_600_000]));
    },
  },
  switchover: {
    weight: 5,
    fault: ({ cluster, operator }, prng) => void operator.switchOver(prng.pick(cluster.nodes)),
  },
  /** The master is cut off but lives, and some producer still reaches it, while a slave is promoted. */
  splitBrain: {
    weight: 3,
    fault: ({ cluster, operator, workload }, prng, later) => {
      const old = operator.master;
      if (!old.isUp || operator.busy || operator.ignored.size > 0) return;
      cluster.world.network.isolate(old.name);
      operator.ignored.add(old);
      later(prng.between(50, 1_000), () => {
        if (operator.master === old) void operator.failOver();
      });
      for (let i = 0; i < 5; i++) {
        later(prng.between(10, 2_500), () => {
          if (old.isUp && operator.ignored.has(old)) void workload.put(old);
        });
      }
      later(prng.between(2_500, 5_000), () => {
        cluster.world.network.heal();
        operator.ignored.delete(old);
        if (old !== operator.master) void operator.reconcile(old);
      });
    },
  },
  masterAddress: {
    weight: 4,
    fault: ({ cluster, operator }, prng, later) => {
      const slave = prng.pick(cluster.nodes);
      if (!slave.isUp || slave === operator.master || operator.busy) return;
      const other = prng.pick(cluster.nodes);
      if (prng.chance(500_000) || other === slave || other === operator.master || operator.masterOf(other) === slave) {
        void slave.ask(({ admin }) => admin.updateMasterAddress(null));
        later(prng.between(10, 2_000), () => void operator.reconcile(slave));
      } else {
        operator.chained.set(slave, other);
        void operator.reconcile(slave);
        later(prng.between(1_000, 4_000), () => {
          operator.chained.delete(slave);
          void operator.reconcile(slave);
        });
      }
    },
  },
};

/** Names of all faults. */
export const FAULT_NAMES = Object.keys(FAULTS);

/** Draws faults from its own generator. */
export class Nemesis {
  /** How often each fault struck. */
  readonly counters: Record<string, number> = {};
  readonly #scene: FaultScene;
  readonly #prng: Prng;
  readonly #names: readonly string[];
  readonly #undos = new Set<() => void>();

  /** `names`: which faults may strike. */
  constructor(scene: FaultScene, prng: Prng, names: readonly string[] = FAULT_NAMES) {
    this.#scene = scene;
    this.#prng = prng;
    this.#names = names;
  }

  /** Lets one fault strike. */
  strike(): void {
    let draw = this.#prng.nextInt(this.#names.reduce((sum, name) => sum + FAULTS[name]!.weight, 0));
    const name = this.#names.find((each) => (draw -= FAULTS[each]!.weight) < 0)!;
    this.counters[name] = (this.counters[name] ?? 0) + 1;
    const { cluster } = this.#scene;
    cluster.world.note(`fault ${name}`);
    cluster.log("-", "info", `== fault ${name}`);
    FAULTS[name]!.fault(this.#scene, this.#prng, (delayMs, undo) => this.#later(delayMs, undo));
  }

  /** Ends every fault that has not undone itself yet, and what `weather` changed for good. */
  calm(): void {
    const { cluster } = this.#scene;
    for (const undo of [...this.#undos]) this.#undo(undo);
    for (const undo of [...this.#undos]) this.#undo(undo);
    const { network } = cluster.world;
    network.heal();
    const { latencyMinUs, latencyMaxUs, splitPerMillion, coalescePerMillion } = DEFAULT_NETWORK_OPTIONS;
    const quiet = { resetPerMillion: 0, connectLossPerMillion: 0, clogPerMillion: 0 };
    network.setOptions({ latencyMinUs, latencyMaxUs, splitPerMillion, coalescePerMillion, ...quiet });
  }

  #later(delayMs: number, undo: () => void): void {
    this.#undos.add(undo);
    this.#scene.cluster.world.after(delayMs, () => this.#undo(undo));
  }

  /** Once, whoever comes first: its time or {@link calm}. */
  #undo(undo: () => void): void {
    if (this.#undos.delete(undo)) undo();
  }
}

function pickPair(cluster: SimCluster, prng: Prng): [SimNode, SimNode] {
  const a = prng.pick(cluster.nodes);
  return [a, prng.pick(cluster.nodes.filter((node) => node !== a))];
}
