// Replication over loopback TCP inside one process: our master's driver on a real store sends to our slave's driver on
// another, from nothing to the last acknowledged byte, consume queues and index included.

import * as fs from "node:fs";
import * as path from "node:path";
import { SILENT_LOGGER } from "../src/base/logger.ts";
import { HAClientDriver } from "../src/broker/ha_client_driver.ts";
import { HAMasterDriver } from "../src/broker/ha_master_driver.ts";
import { createConfig } from "../src/config/load.ts";
import { HAService } from "../src/ha/ha_service.ts";
import { loadRuntime } from "../src/runtime/detect.ts";
import { makeMessage, openStore } from "./lib/log_maker.ts";
import { runBenchmarks, scratchDirectory } from "./shim.ts";

const MIB = 1024 * 1024;
const LOG_SIZE = 64 * MIB;
const FILE = { mappedFileSizeCommitLog: 128 * MIB };

const runtime = await loadRuntime();
const { config } = createConfig({ brokerRole: "ASYNC_MASTER" }, runtime.process);
const directory = scratchDirectory();
const onFatal = (error: unknown): never => {
  throw error;
};

const log = await openStore(path.join(directory, "master"), FILE, true);
for (let index = 0; log.maxOffset < LOG_SIZE; index++) log.appendMessage(makeMessage(index));
await log.waitDispatched();
let transferBatchSize: number | null = null;
const options = {
  ...config,
  get haTransferBatchSize() {
    return transferBatchSize;
  },
};
const service = new HAService({ log, options, role: "ASYNC_MASTER", logger: SILENT_LOGGER });
const master = new HAMasterDriver({
  net: runtime.net,
  clock: runtime.clock,
  log,
  service,
  logger: SILENT_LOGGER,
  onFatal,
});
const { port } = await master.start({ hostname: "127.0.0.1", port: 0 });
let lives = 0;

/** A new slave's whole life: connects, copies everything, is acknowledged, and goes. */
async function replicate(batchSize: number | null): Promise<void> {
  transferBatchSize = batchSize;
  const storeDirectory = path.join(directory, `slave-${lives++}`);
  const replica = await openStore(storeDirectory, FILE, false);
  const { net, clock, random } = runtime;
  const slave = new HAClientDriver({
    net,
    clock,
    random,
    logger: SILENT_LOGGER,
    log: replica,
    askMaster: () => Promise.resolve({ minOffset: log.minOffset, maxOffset: log.maxOffset }),
    onFatal,
  }, { ...config, resync: false });
  slave.updateMasterAddress(`127.0.0.1:${port}`);
  slave.start();
  const copied = Promise.withResolvers<void>();
  const unsubscribe = replica.onGrow(() => {
    if (replica.maxOffset >= log.maxOffset) copied.resolve();
  });
  await copied.promise;
  unsubscribe();
  await replica.waitDispatched();
  await slave.stop();
  await replica.shutdown();
  fs.rmSync(storeDirectory, { recursive: true, force: true });
}

await runBenchmarks(import.meta, [
  {
    name: "catch-up, frames up to 1 MiB",
    group: "transfer",
    bytes: log.maxOffset,
    calls: 10,
    fn: () => replicate(null),
  },
  {
    name: "catch-up, frames of 32 KiB",
    group: "transfer",
    bytes: log.maxOffset,
    calls: 10,
    fn: () => replicate(32 * 1024),
  },
]);
