// Whether a slave's commit log has files of its master's size. The HA wire does not tell, so other sizes show only where
// the first record crosses a border that the other side has not: gigabytes later. The master's remoting port tells.

import type { Logger } from "../base/logger.ts";
import { invokeErrorText } from "../remoting/remoting_client.ts";
import type { MasterInfoClient } from "./master_info_client.ts";

/** What {@link MasterFileSize} needs. */
export interface MasterFileSizeParts {
  readonly masterInfo: Pick<MasterInfoClient, "mappedFileSizeOf">;
  readonly config: { readonly mappedFileSizeCommitLog: number };
  readonly logger: Logger;
}

/**
 * Warns, once for each finding. It stops nothing: the key of a master may have been changed under files of the old size,
 * and where they do differ the first frame across a border stops the slave.
 */
export class MasterFileSize {
  readonly #parts: MasterFileSizeParts;
  #said = "";

  constructor(parts: MasterFileSizeParts) {
    this.#parts = parts;
  }

  /** Asks the master at a remoting address; one that does not tell is taken to have our size. */
  async compare(address: string): Promise<void> {
    const { masterInfo, config, logger } = this.#parts;
    const own = config.mappedFileSizeCommitLog;
    let size: number | null;
    try {
      size = await masterInfo.mappedFileSizeOf(address);
    } catch (error) {
      logger.debug("Can't learn the master's mappedFileSizeCommitLog", { address, error: invokeErrorText(error) });
      return;
    }
    const message = size === null || size === own
      ? ""
      : `mappedFileSizeCommitLog is ${own}, the master's is ${size}: following ends at the end of a file; give this ` +
        "node the master's, and an empty store";
    if (message !== "" && message !== this.#said) logger.warn(message, { address });
    this.#said = message;
  }
}
