// A model of how RocketMQ to 5.3 flushed (`MappedFile.flush`, `GroupCommitService`): the error of a sync is logged, the
// flushed position moves all the same, and the producer that waited for the disk is told that all is well.

import { IoError } from "../../../src/base/errors.ts";
import type { PutStore } from "../../../src/broker/put_message_service.ts";
import type { FileSystem } from "../../../src/runtime/runtime.ts";
import type { MessageStore } from "../../../src/store/message_store.ts";
import type { AppendMessageResult, BatchToPut, MessageToPut } from "../../../src/store/types.ts";

/** A real store's log, flushed the old way. */
export class OldFlushedStore implements PutStore {
  /** Errors that nobody heard of. */
  swallowed = 0;
  readonly #store: MessageStore;
  readonly #fs: FileSystem;
  readonly #directory: string;

  constructor(store: MessageStore, fs: FileSystem, commitLogDirectory: string) {
    this.#store = store;
    this.#fs = fs;
    this.#directory = commitLogDirectory;
  }

  appendMessages(messages: readonly (MessageToPut | BatchToPut)[]): AppendMessageResult[] {
    return this.#store.appendMessages(messages);
  }

  async waitStored(): Promise<boolean> {
    for (const name of this.#fs.list(this.#directory)) {
      const file = this.#fs.open(`${this.#directory}/${name}`, "write");
      try {
        await file.sync();
      } catch (error) {
        if (!(error instanceof IoError)) throw error;
        this.swallowed++;
      } finally {
        file.close();
      }
    }
    return true;
  }
}
