// A master that does only what a test tells it: listens on loopback, hands out connections, reads reports, sends frames.
// It knows no log; `serve` is the one piece of behaviour, an Apache-like answer to a request from a MemoryReplicaLog.

import { concatBytes, readInt64 } from "../../src/base/bytes.ts";
import { TRANSFER_HEADER_SIZE, writeTransferHeader } from "../../src/ha/frames.ts";
import type { Connection, Listener, Net } from "../../src/runtime/runtime.ts";
import type { MemoryReplicaLog } from "./memory_replica_log.ts";

/** A transfer frame; without a body, a heartbeat. */
export function makeFrame(physicOffset: number, body: Uint8Array = new Uint8Array(0)): Uint8Array {
  const frame = new Uint8Array(TRANSFER_HEADER_SIZE + body.length);
  writeTransferHeader(frame, 0, physicOffset, body.length);
  frame.set(body, TRANSFER_HEADER_SIZE);
  return frame;
}

/** One slave's connection at the scripted master. */
export class ScriptedSlave {
  readonly connection: Connection;
  /** Every report so far, in order. */
  readonly reports: number[] = [];
  #ended = false;
  #held: Uint8Array = new Uint8Array(0);

  constructor(connection: Connection) {
    this.connection = connection;
  }

  /** The next report, or null when the slave has closed. */
  async nextReport(): Promise<number | null> {
    while (this.#held.length < 8) {
      if (this.#ended) return null;
      const bytes = await this.connection.read().catch(() => null);
      if (bytes === null) this.#ended = true;
      else this.#held = concatBytes([this.#held, bytes]);
    }
    const report = readInt64(this.#held, 0);
    this.#held = this.#held.slice(8);
    this.reports.push(report);
    return report;
  }

  /** Reads reports until one is `offset`; throws when the slave closes before. */
  async awaitReport(offset: number): Promise<void> {
    while (true) {
      const report = await this.nextReport();
      if (report === offset) return;
      if (report === null) throw new Error(`Slave closed after reports ${this.reports.join(", ")}, wanted ${offset}`);
    }
  }

  /** Reads until the slave has closed. */
  async awaitClose(): Promise<void> {
    while (await this.nextReport() !== null);
  }

  send(...parts: Uint8Array[]): Promise<void> {
    return this.connection.write(concatBytes(parts));
  }

  /**
   * Sends `[from, to)` of a log as frames of at most `batch` bytes, within files, as Apache does; at `from` 1 too.
   */
  async serve(log: MemoryReplicaLog, from: number, to = log.maxOffset, batch = 32 * 1024): Promise<void> {
    for (let at = from; at < to;) {
      const left = log.mappedFileSize - at % log.mappedFileSize;
      const end = Math.min(to, at + Math.min(batch, left));
      await this.send(makeFrame(at, log.slice(at, end)));
      at = end;
    }
  }
}

/** The listening side. */
export class ScriptedMaster {
  readonly #listener: Listener;
  readonly #slaves: ScriptedSlave[] = [];

  private constructor(listener: Listener) {
    this.#listener = listener;
  }

  static async listen(net: Net, port = 0): Promise<ScriptedMaster> {
    return new ScriptedMaster(await net.listen({ hostname: "127.0.0.1", port }));
  }

  get address(): string {
    return `127.0.0.1:${this.#listener.address.port}`;
  }

  /** The next connection. */
  async accept(): Promise<ScriptedSlave> {
    const connection = await this.#listener.accept();
    if (connection === null) throw new Error("Scripted master is closed");
    const slave = new ScriptedSlave(connection);
    this.#slaves.push(slave);
    return slave;
  }

  close(): void {
    this.#listener.close();
    for (const slave of this.#slaves) slave.connection.close();
  }
}
