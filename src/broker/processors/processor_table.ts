// Puts the processors of this broker together. The same table serves the main and the VIP port; Apache leaves pulls out
// of the latter, and there are none here.

import type { FileSystem } from "../../runtime/runtime.ts";
import type { ProcessorTable } from "../../remoting/remoting_server.ts";
import type { ConfigManagers } from "../slave_synchronize.ts";
import { haProcessors } from "./ha_processor.ts";
import type { BrokerHAPort, BrokerRuntimeInfoSource } from "./ports.ts";
import { runtimeInfoProcessors } from "./runtime_info_processor.ts";
import { slaveSyncProcessors } from "./slave_sync_processor.ts";

/** Everything the processors reach. */
export interface ProcessorPorts {
  readonly runtimeInfo: BrokerRuntimeInfoSource;
  readonly ha: BrokerHAPort;
  readonly managers: ConfigManagers;
  readonly fs: FileSystem;
  /** `<storePathRootDir>/config`. */
  readonly configDirectory: string;
}

/** The table for {@link RemotingServer}: codes 21, 28, 43, 45, 60, 61, 201, 402, 906, 907. */
export function createProcessorTable(ports: ProcessorPorts): ProcessorTable {
  const { managers, fs, configDirectory } = ports;
  return new Map([
    ...runtimeInfoProcessors(ports.runtimeInfo),
    ...haProcessors(ports.ha),
    ...slaveSyncProcessors({ managers, fs, directory: configDirectory }),
  ]);
}
