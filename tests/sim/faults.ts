// What goes wrong in a simulation: one table of faults, each with its weight and with the counter that proves that it
// happened, read where it takes effect and not where it was arranged. A fault begins at once and undoes itself after a
// while of world time; `calm` ends whatever is left. Strikes come from a plan (plan.ts), each with a generator of its
// own. What must hold in spite of them is for the checkers.
//
// Silent damage (bit flips, misplaced writes) strikes one node at a time, while another one could take over. The format
// protects a record's body, size, magic and offset, nothing else, and the damaged node can't know: so nothing is
// promised of that node's copy from then on, but that it serves no body other than what was put. Nobody else may take
// anything from it that is no good record. The operator gives the node an empty disk, after a failover where it is the
// master. A node that lost a sync's error is believed after a kill and never given a loss of power: see `failedSync`.

import { DEFAULT_DISK_OPTIONS, DEFAULT_NETWORK_OPTIONS, type Prng } from "../../src/runtime/simulated/mod.ts";
import type { StepChecker } from "./checkers.ts";
import type { SimCluster, SimNode } from "./cluster.ts";
import type { Operator } from "./operator.ts";
import { crowd, stopReading } from "./raw_clients.ts";
import { checkRecovery } from "./rest_checks.ts";
import type { Workload } from "./workload.ts";

type Later = (delayMs: number, undo: () => void) => void;

/** What faults may touch. */
export interface FaultScene {
  readonly cluster: SimCluster;
  readonly operator: Operator;
  readonly workload: Workload;
  readonly checker: StepChecker;
  /** Names to pick from: those of all nodes of the plan, here or left out. */
  readonly names: readonly string[];
  /** Adds the node that comes later; null when it is here already, or left out. */
  readonly join: () => SimNode | null;
  /** Effects that only the harness can see. */
  readonly effects: Record<string, number>;
}

interface Fault {
  readonly weight: number;
  /** How often it took effect, over the whole run so far. */
  readonly proof: (scene: FaultScene) => number;
  readonly strike: (scene: FaultScene, prng: Prng, later: Later) => void;
}

/** A node that was down for so long, ms, has missed more than its peers' time-outs. */
const LONG_MS = 4_001;

/** A node by name; null where it is left out or not here yet. */
function pickNode({ cluster, names }: FaultScene, prng: Prng): SimNode | null {
  const name = prng.pick(names);
  return cluster.nodes.find((node) => node.name === name) ?? null;
}

/** Names of two hosts. */
function pickPair({ names }: FaultScene, prng: Prng): [string, string] {
  const a = prng.pick(names);
  return [a, prng.pick(names.filter((name) => name !== a))];
}

/** Two hosts that are there, or none. */
function pickHosts(scene: FaultScene, prng: Prng): [string, string] | null {
  const pair = pickPair(scene, prng);
  return pair.every((name) => scene.cluster.nodes.some((node) => node.name === name)) ? pair : null;
}

function overNodes(read: (node: SimNode) => number): (scene: FaultScene) => number {
  return ({ cluster }) => cluster.nodes.reduce((sum, node) => sum + read(node), 0);
}

const ofNetwork = (name: keyof SimCluster["world"]["network"]["counters"]) => ({ cluster }: FaultScene) =>
  cluster.world.network.counters[name];
const ofDisks = (name: keyof SimNode["host"]["disk"]["counters"]) => overNodes((node) => node.host.disk.counters[name]);
const ofEffects = (name: string) => ({ effects }: FaultScene) => effects[name] ?? 0;

/** A node dies and comes back; the operator may have promoted another one meanwhile. */
function die(scene: FaultScene, prng: Prng, later: Later, how: "kill" | "crash" | "drop" | "tear", downMaxMs = 4_000) {
  const { cluster, operator, checker } = scene;
  const node = pickNode(scene, prng);
  const downMs = prng.between(10, downMaxMs);
  const [losesPower, failsOver, isRehearsed] = [prng.chance(250_000), prng.chance(600_000), prng.chance(250_000)];
  const [powerAtMs, failOverAtMs] = [prng.nextInt(10), prng.between(5, downMs)];
  if (node === null || node.isDown) return;
  // After a failed sync the kernel takes for clean what the disk never got: a loss of power then costs any byte, which no
  // program can help. Such a machine only gets its programs killed.
  const keepsPower = checker.isSuspect(node);
  const isCrash = how !== "kill" && !keepsPower;
  if (isCrash) node.crash(how === "crash" ? undefined : how);
  else node.kill();
  count(scene, isCrash ? how : "kill");
  // After the program's end its machine may lose power too, with what only the kernel knew.
  if (how === "kill" && !keepsPower && losesPower) {
    later(powerAtMs, () => {
      if (!node.isDown) return;
      checker.onPowerLoss(node);
      node.crash();
    });
  }
  if (node === operator.master && failsOver) {
    later(failOverAtMs, () => {
      if (operator.master === node && node.isDown) void operator.failOver();
    });
  }
  if (isRehearsed) {
    node.rehearsal = async (each) => {
      const isDone = await checkRecovery(cluster, each, checker.invariants);
      // What recovery found is on the disk: power may go right after it.
      if (!isDone || keepsPower || checker.isSuspect(each) || powerAtMs % 2 === 0) return;
      each.host.restart();
      each.host.crash();
      count(scene, "crashAfterRecovery");
    };
  }
  later(downMs, () => {
    if (node.isDown && downMs >= LONG_MS) count(scene, "longDown");
    void node.start();
  });
}

function count({ effects }: FaultScene, name: string, times = 1): void {
  effects[name] = (effects[name] ?? 0) + times;
}

/** Sets an option of the network for a while. */
function weather<K extends keyof typeof DEFAULT_NETWORK_OPTIONS>(
  { cluster }: FaultScene,
  later: Later,
  durationMs: number,
  options: Partial<Record<K, number>>,
): void {
  const { network } = cluster.world;
  const before: Partial<Record<string, number>> = {};
  for (const name of Object.keys(options)) before[name] = network.baseline[name as K];
  network.setOptions(options);
  later(durationMs, () => network.setOptions(before));
}

/** Makes the next operation of a node's commit log fail. */
function failNext(scene: FaultScene, prng: Prng, later: Later, operation: "read" | "write", part?: "none" | "some") {
  const node = pickNode(scene, prng);
  const path = prng.pick(["/commitlog/", "/commitlog/", "/consumequeue/", "/store/"]);
  const fault = { operation, path, times: prng.between(1, 3), code: prng.pick(["EIO", "EIO", "ENOSPC"] as const) };
  if (node === null) return;
  // A store that can't be read does not start, and shouldn't: it is started again.
  const error = operation === "read" ? { ...fault, code: "EIO" as const } : fault;
  const disarm = node.host.disk.failNext(part === undefined ? error : { ...error, part });
  later(800, () => {
    disarm();
    if (node.isDown) later(prng.between(0, 500), () => void node.start());
  });
}

/** Whether silent damage may strike this node: nobody else is damaged, and another one could take over. */
function mayDamage({ cluster, operator }: FaultScene, node: SimNode | null): node is SimNode {
  if (node === null || operator.busy || cluster.nodes.some((each) => each.isDamaged)) return false;
  return cluster.nodes.some((each) => each !== node && each.isUp && (each === operator.master || each.isTrusted));
}

/** The operator hears of the damage after a while. */
function repairLater({ operator }: FaultScene, prng: Prng, later: Later, node: SimNode): void {
  later(prng.between(300, 4_000), () => {
    if (node.isDamaged) void operator.replace(node);
  });
}

/**
 * Where a bit flips that some check covers: in a body of the log, or, on a slave, anywhere in what is derived from it. A
 * master counts queue offsets by its consume queues, which nothing protects: damage there spreads into records.
 */
function flipBit(scene: FaultScene, prng: Prng, node: SimNode): boolean {
  const { disk } = node.host;
  if (prng.chance(300_000) && node !== scene.operator.master) {
    const derived = disk.files().filter((path) => /^\/store\/(consumequeue|index)\//.test(path));
    return derived.length > 0 && disk.flipBit(prng.pick(derived));
  }
  const held = scene.workload.ledger.filter((put) => put.holders.has(node.name) && put.outcome?.stored != null);
  if (held.length === 0) return false;
  const put = prng.pick(held.slice(-40));
  const { physicalOffset, storeSize } = put.outcome!.stored!;
  const at = Buffer.from(node.logBytes(physicalOffset, physicalOffset + storeSize)).indexOf(put.body);
  if (at < 0) return false;
  const offset = physicalOffset + at + prng.nextInt(put.body.length);
  const inFile = offset % node.fileSize;
  return disk.flipBit(`/store/commitlog/${String(offset - inFile).padStart(20, "0")}`, inFile);
}

const TABLE = {
  // ---- the network ----
  delay: {
    weight: 5,
    proof: ofNetwork("delays"),
    strike: (scene, prng, later) => {
      const latencyMinUs = prng.pick([50, 1_000, 5_000]);
      const latencyMaxUs = latencyMinUs + prng.pick([2_000, 40_000]);
      weather(scene, later, prng.between(200, 4_000), { latencyMinUs, latencyMaxUs });
    },
  },
  split: {
    weight: 4,
    proof: ofNetwork("splits"),
    strike: (scene, prng, later) => {
      const durationMs = prng.between(20, 300);
      const pair = pickPair(scene, prng);
      // At every boundary there is, of one direction; or now and then, of all.
      const segmentSizeMax = prng.pick([1, 2, 3, 7, 12, 100]);
      if (prng.chance(400_000)) return weather(scene, later, durationMs * 10, { splitPerMillion: 500_000 });
      if (!pair.every((name) => scene.cluster.nodes.some((node) => node.name === name))) return;
      const { options } = scene.cluster.world.network.link(...pair);
      options.segmentSizeMax = segmentSizeMax;
      later(durationMs, () => {
        options.segmentSizeMax = DEFAULT_NETWORK_OPTIONS.segmentSizeMax;
      });
    },
  },
  coalesce: {
    weight: 3,
    proof: ofNetwork("coalescedReads"),
    strike: (scene, prng, later) =>
      weather(scene, later, prng.between(200, 4_000), { coalescePerMillion: prng.pick([500_000, 1_000_000]) }),
  },
  reset: {
    weight: 5,
    proof: ofNetwork("resets"),
    strike: (scene, prng, later) => {
      const pair = pickHosts(scene, prng);
      if (prng.chance(300_000)) weather(scene, later, prng.between(200, 3_000), { resetPerMillion: 5_000 });
      else if (pair !== null) scene.cluster.world.network.resetConnections(...pair);
    },
  },
  halfOpen: {
    weight: 5,
    proof: ofNetwork("halfOpens"),
    strike: (scene, prng) => {
      const pair = pickHosts(scene, prng);
      if (pair !== null) scene.cluster.world.network.forgetConnections(...pair);
    },
  },
  partition: {
    weight: 5,
    proof: ofNetwork("partitioned"),
    strike: (scene, prng, later) => {
      const pair = pickHosts(scene, prng);
      const durationMs = prng.between(50, 5_000);
      if (pair === null) return;
      const { network } = scene.cluster.world;
      if (prng.chance(250_000)) network.isolate(pair[0]);
      else network.partition(...pair);
      later(durationMs, () => network.heal());
    },
  },
  oneWayPartition: {
    weight: 5,
    proof: ofNetwork("oneWay"),
    strike: (scene, prng, later) => {
      const pair = pickHosts(scene, prng);
      const durationMs = prng.between(50, 5_000);
      if (pair === null) return;
      const { network } = scene.cluster.world;
      network.cut(...pair);
      later(durationMs, () => network.heal(...pair));
    },
  },
  clog: {
    weight: 4,
    proof: ofNetwork("clogged"),
    strike: (scene, prng, later) => {
      const pair = pickHosts(scene, prng);
      const durationMs = prng.between(10, 3_000);
      if (prng.chance(200_000)) weather(scene, later, durationMs, { clogPerMillion: 5_000 });
      else if (pair !== null) scene.cluster.world.network.clog(...pair, durationMs);
    },
  },
  lostConnect: {
    weight: 3,
    proof: ofNetwork("connectsLost"),
    strike: (scene, prng, later) => {
      const pair = pickHosts(scene, prng);
      weather(scene, later, prng.between(500, 5_000), { connectLossPerMillion: prng.pick([200_000, 700_000]) });
      if (pair !== null) scene.cluster.world.network.resetConnections(...pair);
    },
  },
  stoppedReader: {
    weight: 4,
    proof: ofEffects("stoppedReader"),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      const durationMs = prng.between(300, 4_000);
      if (node?.isUp) void stopReading(scene.cluster, node, durationMs, later, () => count(scene, "stoppedReader"));
    },
  },
  connectionStorm: {
    weight: 3,
    proof: ofEffects("connectionStorm"),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      const size = prng.between(20, 80);
      const durationMs = prng.between(50, 3_000);
      if (node === null || !node.isUp) return;
      scene.checker.extraConnections += size;
      void crowd(scene.cluster, node, { size, durationMs, prng }, later, (made) => {
        count(scene, "connectionStorm", made);
      });
    },
  },

  // ---- disks ----
  lostWrites: {
    weight: 4,
    proof: ofDisks("lostSectors"),
    strike: (scene, prng, later) => die(scene, prng, later, "drop"),
  },
  tornWrite: {
    weight: 5,
    proof: ofDisks("tornFiles"),
    strike: (scene, prng, later) => die(scene, prng, later, "tear"),
  },
  misdirectedWrite: {
    weight: 3,
    proof: ofDisks("misdirectedWrites"),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      if (!mayDamage(scene, node)) return;
      scene.checker.damage(node);
      later(3_000, node.host.disk.failNext({ operation: "misdirect", path: "/commitlog/" }));
      repairLater(scene, prng, later, node);
    },
  },
  bitFlip: {
    weight: 3,
    proof: ofDisks("bitFlips"),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      if (!mayDamage(scene, node)) return;
      if (!flipBit(scene, prng, node)) return;
      scene.checker.damage(node);
      repairLater(scene, prng, later, node);
    },
  },
  shortWrite: {
    weight: 4,
    proof: ofDisks("shortWrites"),
    strike: (scene, prng, later) => failNext(scene, prng, later, "write", "some"),
  },
  failedWrite: {
    weight: 4,
    proof: ofDisks("writeErrors"),
    strike: (scene, prng, later) => failNext(scene, prng, later, "write"),
  },
  failedRead: {
    weight: 3,
    proof: ofDisks("readErrors"),
    strike: (scene, prng, later) => failNext(scene, prng, later, "read"),
  },
  fullDisk: {
    weight: 4,
    proof: ofDisks("noSpace"),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      const [room, durationMs] = [prng.nextInt(16) * 1024, prng.between(200, 3_000)];
      if (node === null) return;
      const { disk } = node.host;
      disk.options.capacityBytes = disk.usage.totalBytes - disk.usage.freeBytes + room;
      later(durationMs, () => {
        disk.options.capacityBytes = DEFAULT_DISK_OPTIONS.capacityBytes;
        if (node.isDown) later(100, () => void node.start());
      });
    },
  },
  failedSync: {
    weight: 3,
    proof: ofDisks("syncErrors"),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      const path = prng.pick(["/commitlog/", "/commitlog/", "/consumequeue/", "/store/"]);
      if (node === null || !node.isUp) return;
      scene.checker.suspect(node);
      const disarm = node.host.disk.failNext({ operation: "sync", path });
      later(1_500, () => {
        disarm();
        later(prng.between(0, 1_000), () => void node.start());
      });
    },
  },
  slowDisk: {
    weight: 4,
    proof: ofDisks("slowOperations"),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      const durationMs = prng.between(500, 4_000);
      if (node === null) return;
      const { disk } = node.host;
      disk.options.syncLatencyMaxUs = prng.pick([50_000, 400_000]);
      disk.options.readLatencyMaxUs = prng.pick([1_000, 50_000]);
      if (prng.chance(500_000)) disk.stall(prng.between(50, 2_000));
      later(durationMs, () => {
        disk.options.syncLatencyMaxUs = DEFAULT_DISK_OPTIONS.syncLatencyMaxUs;
        disk.options.readLatencyMaxUs = DEFAULT_DISK_OPTIONS.readLatencyMaxUs;
      });
    },
  },
  /** A disk broke and was replaced by an empty one. */
  emptyDisk: {
    weight: 2,
    proof: ofEffects("emptyDisk"),
    strike: (scene, prng) => {
      const node = pickNode(scene, prng);
      if (!mayDamage(scene, node)) return;
      scene.checker.damage(node);
      void scene.operator.replace(node).then((isDone) => {
        if (isDone) count(scene, "emptyDisk");
      });
    },
  },
  /** A slave comes back from an old copy of its disk. */
  oldCopy: {
    weight: 2,
    proof: ofEffects("oldCopy"),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      const [ageMs, downMs] = [prng.between(200, 6_000), prng.between(10, 1_000)];
      if (node === null || node.isDamaged || node === scene.operator.master) return;
      const image = node.host.disk.image();
      later(ageMs, () => {
        if (node === scene.operator.master || scene.operator.busy || node.isDamaged) return;
        if (!node.isDown) node.kill();
        node.replaceDisk(image);
        count(scene, "oldCopy");
        later(downMs, () => void node.start());
      });
    },
  },

  // ---- programs and machines ----
  kill: { weight: 6, proof: ofEffects("kill"), strike: (scene, prng, later) => die(scene, prng, later, "kill") },
  crash: { weight: 5, proof: ofEffects("crash"), strike: (scene, prng, later) => die(scene, prng, later, "crash") },
  /** Down for so long that everybody else has gone on. */
  longDown: {
    weight: 3,
    proof: ofEffects("longDown"),
    strike: (scene, prng, later) => die(scene, prng, later, "kill", 20_000),
  },
  restart: {
    weight: 4,
    proof: ofEffects("restart"),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      const downMs = prng.between(10, 2_000);
      if (node === null || !node.isUp || node.host.isPaused) return;
      void node.stop().then(() => {
        if (node.isDown) count(scene, "restart");
        later(downMs, () => void node.start());
      });
    },
  },
  pause: {
    weight: 4,
    proof: overNodes((node) => node.host.heldCount),
    strike: (scene, prng, later) => {
      const node = pickNode(scene, prng);
      const durationMs = prng.between(100, 5_000);
      if (node === null || node.host.isPaused) return;
      node.host.pause();
      later(durationMs, () => node.host.resume());
    },
  },
  clockStep: {
    weight: 3,
    proof: overNodes((node) => node.host.clock.counters.steps),
    strike: (scene, prng) => {
      const deltaMs = prng.pick([-3_600_000, -10_000, -2_000, 500, 10_000, 3_600_000, 7_200_000]);
      pickNode(scene, prng)?.host.clock.step(deltaMs);
    },
  },
  clockDrift: {
    weight: 2,
    proof: overNodes((node) => node.host.clock.counters.drifts),
    strike: (scene, prng) => pickNode(scene, prng)?.host.clock.setDrift(prng.between(-50_000, 50_000)),
  },

  // ---- roles and members ----
  switchover: {
    weight: 6,
    proof: ({ operator }) => operator.counters.switchovers,
    strike: (scene, prng) => {
      const node = pickNode(scene, prng);
      if (node !== null) void scene.operator.switchOver(node);
    },
  },
  /** The master is cut off but lives, and some producer still reaches it, while a slave is promoted. */
  splitBrain: {
    weight: 3,
    proof: ofEffects("splitBrain"),
    strike: (scene, prng, later) => {
      const { cluster, operator, workload } = scene;
      const old = operator.master;
      if (!old.isUp || operator.busy || operator.ignored.size > 0 || old.isDamaged) return;
      cluster.world.network.isolate(old.name);
      operator.ignored.add(old);
      later(prng.between(50, 1_000), () => {
        if (operator.master !== old) return;
        void operator.failOver().then((isDone) => {
          if (isDone && old.isUp) count(scene, "splitBrain");
        });
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
  otherMaster: {
    weight: 3,
    proof: ofEffects("otherMaster"),
    strike: (scene, prng, later) => {
      const { operator } = scene;
      const [slave, other] = [pickNode(scene, prng), pickNode(scene, prng)];
      const [isNone, durationMs] = [prng.chance(500_000), prng.between(1_000, 4_000)];
      if (slave === null || !slave.isUp || slave === operator.master || operator.busy) return;
      count(scene, "otherMaster");
      if (
        isNone || other === null || other === slave || other === operator.master || operator.masterOf(other) === slave
      ) {
        void slave.ask(({ admin }) => admin.updateMasterAddress(null));
        later(durationMs, () => void operator.reconcile(slave));
        return;
      }
      operator.chained.set(slave, other);
      void operator.reconcile(slave);
      later(durationMs, () => {
        operator.chained.delete(slave);
        void operator.reconcile(slave);
      });
    },
  },
  /** Settings change while the node runs. */
  liveConfig: {
    weight: 2,
    proof: ofEffects("liveConfig"),
    strike: (scene, prng) => {
      const node = pickNode(scene, prng);
      const patch = {
        haSendHeartbeatInterval: prng.pick([200, 500, 900]),
        haTransferBatchSize: prng.pick([null, 200, 32 * 1024]),
        haFlowControlEnable: prng.chance(300_000),
        flushIntervalCommitLog: prng.pick([50, 500]),
      };
      if (node === null || !node.isUp) return;
      node.broker!.admin.updateConfig(patch);
      count(scene, "liveConfig");
    },
  },
  emptyJoin: {
    weight: 2,
    proof: ofEffects("emptyJoin"),
    strike: (scene) => {
      const node = scene.join();
      if (node === null) return;
      void node.start().then(() => {
        if (node.isUp) count(scene, "emptyJoin");
      });
    },
  },
} as const satisfies Record<string, Fault>;

/** The name of a fault. */
export type FaultName = keyof typeof TABLE;

/** All faults. */
export const FAULTS: Readonly<Record<FaultName, Fault>> = TABLE;

/** Names of all faults. */
export const FAULT_NAMES = Object.keys(FAULTS) as FaultName[];

/** Lets faults strike, and ends them. */
export class Nemesis {
  readonly #scene: FaultScene;
  readonly #undos = new Set<() => void>();
  #isCalm = false;

  constructor(scene: FaultScene) {
    this.#scene = scene;
  }

  /** Lets a fault strike; all that it draws comes from `prng`. */
  strike(name: FaultName, prng: Prng): void {
    const { cluster } = this.#scene;
    cluster.world.note(`fault ${name}`);
    cluster.log("-", "info", `== fault ${name}`);
    FAULTS[name].strike(this.#scene, prng, (delayMs, undo) => this.#later(delayMs, undo));
  }

  /** How often each fault took effect so far. */
  proofs(): Record<FaultName, number> {
    return Object.fromEntries(FAULT_NAMES.map((name) => [name, FAULTS[name].proof(this.#scene)])) as Record<
      FaultName,
      number
    >;
  }

  /** Ends every fault that has not undone itself yet, and lets no new one begin. */
  calm(): void {
    this.#isCalm = true;
    const { network } = this.#scene.cluster.world;
    for (const undo of this.#undos) this.#undo(undo);
    network.heal();
    network.setOptions({ resetPerMillion: 0, connectLossPerMillion: 0, clogPerMillion: 0 });
    for (const node of this.#scene.cluster.nodes) node.host.resume();
  }

  #later(delayMs: number, undo: () => void): void {
    if (this.#isCalm) return undo();
    this.#undos.add(undo);
    this.#scene.cluster.world.after(delayMs, () => this.#undo(undo));
  }

  /** Once, whoever comes first: its time or {@link calm}. */
  #undo(undo: () => void): void {
    if (this.#undos.delete(undo)) undo();
  }
}
