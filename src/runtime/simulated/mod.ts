// The simulated runtime's public names, listed by hand: what `twinlog/testing` exports.

export { SimulatedWorld, type WorldOptions } from "./world.ts";
export { type HostOptions, SimulatedHost } from "./host.ts";
export { SimulatedHostClock, WALL_START_MS } from "./clock.ts";
export { DEFAULT_NETWORK_OPTIONS, type NetworkOptions, SimulatedNetwork } from "./network.ts";
export { Link, type LinkOptions, type NetworkCounters } from "./link.ts";
export { SimulatedDisk } from "./disk.ts";
export { type CrashMode, PAGE_SIZE, SECTOR_SIZE } from "./disk_file.ts";
export {
  type ArmedFault,
  DEFAULT_DISK_OPTIONS,
  type DiskCounters,
  type DiskOperation,
  type DiskOptions,
} from "./disk_faults.ts";
export { SimulatedExit, SimulatedProcess } from "./process.ts";
export type { Scheduler, SimulatedEvent, SimulatedLife } from "./scheduler.ts";
export { Prng } from "./prng.ts";
export { Trace } from "./trace.ts";
