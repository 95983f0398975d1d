// Producers of a chaos run and the ledger of what they were told. Twinlog masters take puts through their admin API,
// Apache ones from the real Java client. PUT_OK (the client's SEND_OK) is a promise; everything else is none.

import * as crypto from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { crc32 } from "node:zlib";
import type { ApacheLab } from "./apache.ts";
import type { ChaosNode } from "./chaos_node.ts";
import type { LogContent } from "./log_records.ts";
import { type LabProcess, pause } from "./processes.ts";

/** What a message was, by its key. */
interface Promised {
  readonly crc: number;
  readonly size: number;
}

const PRODUCERS = 5;
const BODY_SIZE_MAX = 6000;
/** Between two puts of a producer, ms: a load that leaves the machine room for the faults. */
const PAUSE_MS = 4;
const PUT_LIMIT_MS = 4000;

/** Writes to one master at a time. */
export class ChaosLoad {
  readonly topic: string;
  /** Answers by status; `error` is no answer. */
  readonly answers = new Map<string, number>();
  readonly #promised = new Map<string, Promised>();
  readonly #lab: ApacheLab | null;
  readonly #namesrv: string;
  readonly #directory: string;
  #target: ChaosNode | null = null;
  #ending = false;
  #java: { readonly process: LabProcess; readonly out: string } | null = null;
  #javaRuns = 0;
  #sequence = 0;
  readonly #underWay = new Set<Promise<string>>();
  readonly #producers: Promise<void>[];

  constructor(topic: string, directory: string, lab: ApacheLab | null, namesrv: string) {
    this.topic = topic;
    this.#directory = directory;
    this.#lab = lab;
    this.#namesrv = namesrv;
    this.#producers = Array.from({ length: PRODUCERS }, () => this.#produce());
  }

  /** Messages that were promised so far. */
  get promised(): number {
    this.#readJava();
    return this.#promised.size;
  }

  /** Puts that were answered with a refusal: nothing of them is stored. */
  get refused(): number {
    const statuses = ["SERVICE_NOT_AVAILABLE", "CREATE_MAPPED_FILE_FAILED", "UNKNOWN_ERROR"];
    return statuses.reduce((sum, status) => sum + (this.answers.get(status) ?? 0), 0);
  }

  /** From now on this master gets the load; null: nobody. */
  async target(node: ChaosNode | null): Promise<void> {
    this.#target = node;
    if (this.#java !== null) {
      this.#readJava();
      await this.#java.process.destroy();
      this.#readJava();
      this.#java = null;
    }
    if (node?.isApache) await this.#startJava(node);
  }

  async #startJava(node: ChaosNode): Promise<void> {
    const lab = this.#lab!;
    const topic = ["-t", this.topic, "-r", "4", "-w", "4"];
    await lab.mqadmin("updateTopic", "-n", this.#namesrv, "-b", `127.0.0.1:${node.port}`, ...topic);
    const prefix = `${this.topic}j${this.#javaRuns++}`;
    const out = path.join(this.#directory, `acks-${prefix}`);
    const options = {
      namesrv: this.#namesrv,
      topic: this.topic,
      out,
      prefix,
      shape: "until",
      totalBytes: 1e12,
    } as const;
    this.#java = { process: lab.startProducer({ ...options, threads: 2 }), out };
  }

  /** Takes over what the Java client has written down: `STATUS key crc size`, whole lines only. */
  #readJava(): void {
    if (this.#java === null || !fs.existsSync(this.#java.out)) return;
    const lines = fs.readFileSync(this.#java.out, "utf8").split("\n").slice(0, -1);
    for (const line of lines) {
      const [status, key, crc, size] = line.split(" ");
      if (status === "SEND_OK") this.#promised.set(key!, { crc: Number(crc), size: Number(size) });
    }
  }

  async #produce(): Promise<void> {
    while (!this.#ending) {
      const node = this.#target;
      if (node === null || node.isApache) {
        await pause(20);
        continue;
      }
      await this.put(node);
      await pause(PAUSE_MS);
    }
  }

  /** Resolves once every put that was begun before is answered, or too late. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  /** One put through a node's admin API; its status, `error` without an answer. Bodies have `sizeMin` bytes or more. */
  async put(node: ChaosNode, sizeMin = 1): Promise<string> {
    const putting = this.#put(node, sizeMin);
    this.#underWay.add(putting);
    try {
      return await putting;
    } finally {
      this.#underWay.delete(putting);
    }
  }

  async #put(node: ChaosNode, sizeMin: number): Promise<string> {
    const body = crypto.randomBytes(sizeMin + Math.floor(Math.random() * BODY_SIZE_MAX));
    const key = `${this.topic}-${this.#sequence++}-end`;
    let status = "error";
    try {
      const answer = await node.twinlog.admin("POST", `/topics/${this.topic}/messages`, {
        bodyBase64: body.toString("base64"),
        keys: [key],
        tags: `T${body.length % 3}`,
      }, PUT_LIMIT_MS);
      status = answer.status;
      if (status === "PUT_OK") this.#promised.set(key, { crc: crc32(body), size: body.length });
    } catch (error) {
      // Refused (503 with its status), reset, or too late: nothing was promised.
      status = (error as Error).message.match(/"status":"(\w+)"/)?.[1] ?? "error";
      await pause(20);
    }
    this.answers.set(status, (this.answers.get(status) ?? 0) + 1);
    return status;
  }

  /** Ends all producers. */
  async end(): Promise<void> {
    this.#ending = true;
    await this.target(null);
    await Promise.all(this.#producers);
  }

  /** Throws unless a log holds every promised message, by content. */
  assertHeld(log: LogContent, where: string): void {
    this.#readJava();
    for (const [key, { crc, size }] of this.#promised) {
      const record = log.byKey.get(key);
      if (record === undefined) throw new Error(`${key} was answered PUT_OK and is lost: ${where} ends at ${log.end}`);
      if (record.bodyCrc !== crc || record.bodySize !== size) throw new Error(`${key} has another body on ${where}`);
    }
  }
}
