// Appending to a real store on disk, consume queues and index included: own messages one by one and in batches, and a
// master's bytes as a slave takes them. The log starts over once it has grown to a gigabyte.

import * as path from "node:path";
import type { MessageStore } from "../src/store/message_store.ts";
import { makeMessage, openStore } from "./lib/log_maker.ts";
import { runBenchmarks, scratchDirectory } from "./shim.ts";

const MIB = 1024 * 1024;
const LOG_SIZE_MAX = 1024 * MIB;
const directory = scratchDirectory();

/** A store that is replaced by an empty one when it has grown large. */
class FreshStore {
  readonly #name: string;
  readonly #master: boolean;
  #count = 0;
  #store: MessageStore | null = null;

  constructor(name: string, master: boolean) {
    this.#name = name;
    this.#master = master;
  }

  async get(): Promise<MessageStore> {
    if (this.#store !== null && this.#store.maxOffset < LOG_SIZE_MAX) return this.#store;
    await this.#store?.shutdown();
    const path_ = path.join(directory, `${this.#name}-${this.#count++}`);
    return this.#store = await openStore(path_, { mappedFileSizeCommitLog: 256 * MIB }, this.#master);
  }
}

const source = await openStore(path.join(directory, "source"), { mappedFileSizeCommitLog: 256 * MIB }, true);
for (let index = 0; source.maxOffset < 32 * MIB; index++) source.appendMessage(makeMessage(index));
const history = new Uint8Array(source.maxOffset);
await source.read(0, history);
await source.shutdown();

const single = new FreshStore("single", true);
const slave = new FreshStore("slave", false);
let index = 0;

await runBenchmarks(import.meta, [
  {
    name: "1,000 messages of 1 KB, dispatched",
    group: "append",
    bytes: 1000 * 1300,
    calls: 100,
    async fn() {
      const store = await single.get();
      for (let i = 0; i < 1000; i++) store.appendMessage(makeMessage(index++));
      await store.waitDispatched();
    },
  },
  {
    name: "a master's bytes in pieces of 64 KiB, dispatched",
    group: "append",
    bytes: history.length,
    calls: 20,
    async fn() {
      const store = await slave.get();
      if (store.maxOffset > 0) await store.setLogAside();
      for (let at = 0; at < history.length; at += 65_536) store.appendReplica(at, history.subarray(at, at + 65_536));
      await store.waitDispatched();
    },
  },
]);
