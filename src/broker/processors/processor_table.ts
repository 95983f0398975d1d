// Puts the processors of this broker together: what clients ask and what slaves, administrators and exporters ask.

import type { ProcessorTable } from "../../remoting/remoting_server.ts";
import type { ConfigManagers } from "../config_managers.ts";
import type { TimerMetrics } from "../timer/timer_metrics.ts";
import { haProcessors } from "./ha_processor.ts";
import type { BrokerHAPort, BrokerRuntimeInfoSource } from "./ports.ts";
import { runtimeInfoProcessors } from "./runtime_info_processor.ts";
import { slaveSyncProcessors } from "./slave_sync_processor.ts";

/** Everything the processors reach. */
export interface ProcessorPorts {
  readonly runtimeInfo: BrokerRuntimeInfoSource;
  readonly ha: BrokerHAPort;
  readonly managers: ConfigManagers;
  readonly timer: { checkpointForSlaves(): Uint8Array };
  readonly timerMetrics: TimerMetrics;
}

/** The table of the main port: `clients` and what is asked about the broker itself. */
export function createProcessorTable(clients: ProcessorTable, ports: ProcessorPorts): ProcessorTable {
  const { managers, timer, timerMetrics } = ports;
  return new Map([
    ...clients,
    ...runtimeInfoProcessors(ports.runtimeInfo),
    ...haProcessors(ports.ha),
    ...slaveSyncProcessors({ managers, timer, timerMetrics }),
  ]);
}
