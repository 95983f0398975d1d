// A model of how RocketMQ turned the log into consume queues (`ReputMessageService.doReput`, to 4.3 in what it does
// where the log no longer begins before it, to 5.3.1 in how it meets half a record): it goes on from its position,
// looks at whatever bytes are there, and tries again later.

import { readInt32 } from "../../../src/base/bytes.ts";
import type { ReplicaLog } from "../../../src/ha/replica_log.ts";

/** What it needs of a log. */
export type ReputLog = Pick<ReplicaLog, "minOffset" | "maxOffset" | "mappedFileSize"> & {
  read(offset: number, target: Uint8Array): number | Promise<number>;
};

const MESSAGE_MAGIC_CODE = 0xdaa320a7 | 0;

/** Dispatch, as far as it goes: it counts. */
export class OldReputMessageService {
  reputFromOffset = 0;
  /** Whole records seen. */
  dispatched = 0;
  /** Lines in storeerror.log: a position that is in no file. */
  notMatched = 0;
  /** Records that could not be read because they were not all there. */
  failedChecks = 0;
  readonly #log: ReputLog;

  constructor(log: ReputLog) {
    this.#log = log;
  }

  /** One round: as far as the log goes. */
  async doReput(): Promise<void> {
    while (this.reputFromOffset < this.#log.maxOffset) {
      if (this.reputFromOffset < this.#log.minOffset) return void this.notMatched++;
      const inFile = this.#log.mappedFileSize - this.reputFromOffset % this.#log.mappedFileSize;
      const bytes = new Uint8Array(Math.min(inFile, this.#log.maxOffset - this.reputFromOffset));
      const count = await this.#log.read(this.reputFromOffset, bytes);
      if (count < 8 || readInt32(bytes, 0) > count) return void this.failedChecks++;
      if (readInt32(bytes, 4) === MESSAGE_MAGIC_CODE) this.dispatched++;
      this.reputFromOffset += readInt32(bytes, 0);
    }
  }
}
