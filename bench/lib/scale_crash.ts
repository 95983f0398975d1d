// Part 1 of the scale benchmarks: a node was killed (SIGKILL) under a log of some gigabytes that it wrote itself; how long
// after its next start does its port accept, and is its last message there? Each round starts on a copy of what was left.

import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import type { Kind, LabBroker } from "../../tests/interop/lab/lab_cluster.ts";
import { until } from "../../tests/interop/lab/processes.ts";
import { memoryOf } from "./machine.ts";
import type { Figures } from "./phases.ts";
import { createTopic, fillTo, maxOffsets, pristineOf, type ScaleLab, timedStart, untilPulled } from "./scale_lab.ts";

const TOPIC = "ScaleCrash";
const QUEUES = 8;
const GB = 1e9;

interface Crashed {
  readonly broker: LabBroker;
  readonly bytes: number;
  /** Ends of the queues when it was killed. */
  readonly ends: readonly number[];
}

/** Remembers what each kind of node left, from round to round. */
export class CrashStarts {
  readonly #lab: ScaleLab;
  readonly #crashed = new Map<Kind, Crashed>();

  constructor(lab: ScaleLab) {
    this.#lab = lab;
  }

  /** One start after the crash. */
  async measure(kind: Kind): Promise<Figures> {
    let crashed = this.#crashed.get(kind);
    if (crashed === undefined) this.#crashed.set(kind, crashed = await this.#crash(kind));
    const { broker, bytes, ends } = crashed;
    copyStore(pristineOf(broker), broker.store);
    const { acceptS, thenS } = await timedStart(broker, () => untilPulled(broker.port, TOPIC, ends));
    const figures = {
      crashAcceptS: acceptS,
      crashPullS: thenS,
      crashSPerGB: thenS / (bytes / GB),
      crashGB: bytes / GB,
      crashMB: memoryOf(broker.process.pid).anonymous / 1e6,
    };
    await broker.end("kill");
    fs.rmSync(broker.store, { recursive: true });
    return figures;
  }

  async #crash(kind: Kind): Promise<Crashed> {
    const { crashBytes } = this.#lab.amounts;
    const { bavail, bsize } = fs.statfsSync(this.#lab.directory);
    const wanted = 2.5 * crashBytes;
    if (bavail * bsize < wanted) throw new Error(`The disk has ${bavail * bsize} bytes left, wanted ${wanted}`);
    const namesrv = kind === "apache" ? (await this.#lab.cluster.startNamesrv(kind)).address : undefined;
    const broker = await this.#lab.startMaster(kind, namesrv === undefined ? {} : { namesrv });
    await createTopic(broker.port, TOPIC, QUEUES);
    const { end, messages } = await fillTo(broker.port, TOPIC, QUEUES, crashBytes);
    const ends = await until("all messages in their queues", 600_000, async () => {
      const ends = await maxOffsets(broker.port, TOPIC, QUEUES);
      return ends.reduce((sum, one) => sum + one, 0) === messages ? ends : null;
    });
    await broker.end("kill");
    fs.renameSync(broker.store, pristineOf(broker));
    return { broker, bytes: end, ends };
  }

  /** Removes what the nodes left. */
  close(): void {
    for (const { broker } of this.#crashed.values()) fs.rmSync(pristineOf(broker), { recursive: true, force: true });
  }
}

/** A copy with its holes, and all of it on the disk: writing back must not go on beside the start. */
function copyStore(from: string, to: string): void {
  fs.rmSync(to, { recursive: true, force: true });
  execFileSync("cp", ["-a", "--reflink=auto", from, to]);
  execFileSync("sync", ["-f", to]);
}
