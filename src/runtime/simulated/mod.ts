// The simulated runtime's public names, listed by hand: what `twinlog/testing` exports. What a world makes for its user
// (hosts, network, disks) is here as a type only.

export { SimulatedWorld, type WorldOptions } from "./world.ts";
export type { HostOptions, SimulatedHost } from "./host.ts";
export { type SimulatedHostClock, WALL_START_MS } from "./clock.ts";
export { DEFAULT_NETWORK_OPTIONS, type NetworkOptions, type SimulatedNetwork } from "./network.ts";
export type { Link, LinkOptions, NetworkCounters } from "./link.ts";
export type { DiskImage, SimulatedDisk } from "./disk.ts";
export { type CrashMode, type DiskFile, PAGE_SIZE, SECTOR_SIZE } from "./disk_file.ts";
export type { DiskDirectory, DiskNode } from "./disk_directory.ts";
export {
  type ArmedFault,
  DEFAULT_DISK_OPTIONS,
  type DiskCounters,
  type DiskFaults,
  type DiskOperation,
  type DiskOptions,
  type FailingOperation,
} from "./disk_faults.ts";
export { SimulatedExit, type SimulatedProcess } from "./process.ts";
export type { Scheduler, SimulatedEvent, SimulatedLife } from "./scheduler.ts";
export { Prng } from "./prng.ts";
export { Trace } from "./trace.ts";
