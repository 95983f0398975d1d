// Pulling from a real store on disk: 32 messages of 1 KB for one answer, out of a log that one queue fills and out of one
// that eight share, by all filters; and the whole of a pull request behind its frame. The records come from the page
// cache, in this life of the store, and after a restart, when reads leave the event loop.

import * as path from "node:path";
import process from "node:process";
import { buildSubscriptionData } from "../src/broker/filter/subscription_data.ts";
import { expressionMessageFilter } from "../src/broker/filter/expression_message_filter.ts";
import type { MessageFilter } from "../src/store/message_filter.ts";
import type { MessageStore } from "../src/store/message_store.ts";
import { makeMessage, openStore } from "./lib/log_maker.ts";
import { type Benchmark, runBenchmarks, scratchDirectory } from "./shim.ts";

const MIB = 1024 * 1024;
const PULL_SIZE = 32;
const MESSAGES = 24_000;
/** Pulls of one call, each where the one before ended. */
const PULLS = 50;
const directory = scratchDirectory();
const isSmoke = process.argv.includes("--smoke");

async function filled(name: string, queues: number): Promise<MessageStore> {
  const store = await open(name);
  for (let index = 0; index < (isSmoke ? 3200 : MESSAGES); index++) {
    store.appendMessage({ ...makeMessage(index), queueId: index % queues });
  }
  await store.waitDispatched();
  return store;
}

function open(name: string): Promise<MessageStore> {
  return openStore(path.join(directory, name), { mappedFileSizeCommitLog: 256 * MIB }, true);
}

/** Pulls on through the queue, from its start again at its end. */
function puller(store: MessageStore, filter: MessageFilter | null): () => Promise<void> {
  let offset = 0;
  return async () => {
    for (let i = 0; i < PULLS; i++) {
      const pulled = store.pullMessages("BenchmarkTest", 0, offset, PULL_SIZE, filter);
      const result = pulled instanceof Promise ? await pulled : pulled;
      if (result.messageCount === 0) throw new Error(`Pulled nothing at ${offset}: ${result.status}`);
      offset = result.nextBeginOffset + PULL_SIZE * 4 < result.maxOffset ? result.nextBeginOffset : 0;
    }
  };
}

function pulls(name: string, store: MessageStore, filter: MessageFilter | null, calls: number): Benchmark {
  const bytes = PULLS * PULL_SIZE * 1300;
  return { name, group: `${PULLS} pulls`, bytes, calls, fn: puller(store, filter) };
}

const TAG_FILTER = expressionMessageFilter(buildSubscriptionData("BenchmarkTest", "Tag0||Tag2", "TAG"), null, null);
const PROPERTIES: MessageFilter = {
  needsProperties: true,
  isMatchedByConsumeQueue: () => true,
  isMatchedByCommitLog: (properties) => properties.get("TAGS") !== "Tag1",
};

const single = await filled("single", 1);
const shared = await filled("shared", 8);
const before = await filled("cold", 8);
await before.shutdown();
const cold = await open("cold");

await runBenchmarks(import.meta, [
  pulls("the log is one queue's", single, null, 400),
  pulls("the log is eight queues'", shared, null, 400),
  pulls("half of one queue's, by tag", single, TAG_FILTER, 400),
  pulls("three quarters, by properties", single, PROPERTIES, 100),
  pulls("eight queues', after a restart", cold, null, 100),
]);
