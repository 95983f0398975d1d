// A node's store without its node: opened and recovered on the node's machine, then dropped as by SIGKILL. For looking
// at what recovery does, apart from what a started node does next.

import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { MessageStore } from "../../src/store/message_store.ts";
import type { SimNode } from "./cluster.ts";

/**
 * Opens the store of a node that is down and dies once it is recovered. False when that fails, as a node's start would
 * then, or when the node lives another life by now.
 */
export async function startsOnly(node: SimNode, life: number): Promise<boolean> {
  const { host } = node;
  const runtime = host.isRunning ? host.runtime : host.restart();
  const { fs, clock, process } = runtime;
  let isOpen = true;
  try {
    await MessageStore.open(node.config(), {
      fs,
      clock,
      process,
      logger: SILENT_LOGGER,
      onFatal: () => {
        isOpen = false;
      },
      retainOffset: () => null,
    });
  } catch {
    isOpen = false;
  }
  if (host.isRunning && host.runtime === runtime) host.kill();
  return isOpen && node.life === life;
}
