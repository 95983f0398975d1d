// How full a disk is, as everything goes by that deletes, refuses puts, or tells of it.

import type { DiskUsage } from "../runtime/runtime.ts";

/**
 * Of what can be used, the used part, from 0 to 1: what the file system keeps for root is neither. 0 for one that has no
 * size. Mirrors `UtilAll.getDiskPartitionSpaceUsedPercent`, and `df`.
 */
export function diskUsedRatio({ usedBytes, freeBytes }: DiskUsage): number {
  const entireBytes = usedBytes + freeBytes;
  return entireBytes > 0 ? usedBytes / entireBytes : 0;
}
