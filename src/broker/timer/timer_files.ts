// The timer's files as a whole: opened so that log and wheel agree whatever a crash left of either, made durable together
// before the checkpoint counts on them.

import { StoreError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { FileSystem } from "../../runtime/runtime.ts";
import type { TimerCheckpoint } from "./timer_checkpoint.ts";
import { TimerLog, type TimerLogUnit, TimerMagic } from "./timer_log.ts";
import { type TimerSlot, TimerWheel } from "./timer_wheel.ts";

/** What {@link openTimerFiles} needs. */
export interface TimerFilesParts {
  readonly fs: FileSystem;
  readonly logger: Logger;
  readonly checkpoint: TimerCheckpoint;
  readonly storePathRootDir: string;
  readonly mappedFileSizeTimerLog: number;
  readonly timerPrecisionMs: number;
}

/** The two files. */
export interface TimerFiles {
  readonly log: TimerLog;
  readonly wheel: TimerWheel;
}

/**
 * Opens the files, and mends them: what the log got after the checkpoint is put into the wheel, what the wheel has beyond
 * the log's end is taken out. Files of another size are made anew from the queue. Throws {@link IoError}. Mirrors
 * `TimerMessageStore.recover`.
 */
export async function openTimerFiles(parts: TimerFilesParts): Promise<TimerFiles> {
  try {
    return await open(parts);
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    const { fs, logger, storePathRootDir, checkpoint } = parts;
    logger.warn("The timer's files can't be used; they are made anew from the messages", { error: error.message });
    fs.remove(`${storePathRootDir}/timerlog`);
    fs.remove(`${storePathRootDir}/timerwheel`);
    checkpoint.lastTimerLogFlushPos = checkpoint.lastTimerQueueOffset = 0;
    return await open(parts);
  }
}

async function open(parts: TimerFilesParts): Promise<TimerFiles> {
  const { fs, logger, checkpoint, storePathRootDir, mappedFileSizeTimerLog, timerPrecisionMs } = parts;
  const wheel = new TimerWheel({ fs, path: `${storePathRootDir}/timerwheel`, precisionMs: timerPrecisionMs });
  const directory = `${storePathRootDir}/timerlog`;
  const log = new TimerLog({ fs, directory, fileSize: mappedFileSizeTimerLog, logger });
  try {
    const flushPos = checkpoint.lastTimerLogFlushPos;
    const beyond = await slotsFrom(wheel, flushPos);
    log.load(flushPos, (unit) => revise(wheel, unit));
    if (log.maxPos < flushPos) {
      for (const [timeMs, slot] of await slotsFrom(wheel, log.maxPos)) beyond.set(timeMs, slot);
    }
    for (const [timeMs, slot] of beyond) if (slot.lastPos < log.maxPos) beyond.delete(timeMs);
    if (beyond.size > 0) mend(wheel, log, beyond, logger);
    // Before anything is added: a slot that another crash brings back has to fit the log as it is now.
    await wheel.sync();
    return { log, wheel };
  } catch (error) {
    wheel.close();
    log.close();
    throw error;
  }
}

/** The slots whose last unit is at `pos` or behind it. */
async function slotsFrom(wheel: TimerWheel, pos: number): Promise<Map<number, TimerSlot>> {
  const slots = new Map<number, TimerSlot>();
  await wheel.load(0, (timeMs, slot) => {
    if (slot.lastPos >= pos) slots.set(timeMs, slot);
  });
  return slots;
}

/** Puts a unit into the wheel unless it is there. Mirrors `TimerWheel.reviseSlot`. */
function revise(wheel: TimerWheel, unit: TimerLogUnit): void {
  const slot = wheel.slot(unit.delayedTimeMs);
  if (slot === null ? wheel.isTakenByLater(unit.delayedTimeMs) : slot.lastPos >= unit.pos) return;
  wheel.put(unit.delayedTimeMs, withUnit(slot, unit));
}

function withUnit(slot: TimerSlot | null, { pos, magic }: TimerLogUnit): TimerSlot {
  const change = (magic & TimerMagic.DELETE) === 0 ? 1 : -1;
  return { firstPos: slot?.firstPos ?? pos, lastPos: pos, num: (slot?.num ?? 0) + change };
}

/** The units of these slots that the log lost were their last ones: their chains are found again. */
function mend(wheel: TimerWheel, log: TimerLog, beyond: ReadonlyMap<number, TimerSlot>, logger: Logger): void {
  logger.warn("The timer's wheel is ahead of its log after a crash; mending it", { slots: beyond.size });
  const first = Math.min(...[...beyond.values()].map((slot) => slot.firstPos));
  const found = new Map<number, TimerSlot>();
  const visit = (unit: TimerLogUnit) => {
    const { delayedTimeMs } = unit;
    if (beyond.has(delayedTimeMs)) found.set(delayedTimeMs, withUnit(found.get(delayedTimeMs) ?? null, unit));
  };
  if (first < log.maxPos) log.walk(Math.max(log.minPos, first), visit);
  for (const timeMs of beyond.keys()) {
    const slot = found.get(timeMs);
    if (slot === undefined) wheel.clear(timeMs);
    else wheel.put(timeMs, slot);
  }
}
