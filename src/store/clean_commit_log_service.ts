// When commit-log files go: by age at the hour of `deleteWhen`, earlier when the disk fills. Owns the rules and the
// disk-full flag; the store runs a round every `cleanResourceInterval` and then lets queues and index follow.

import { sleep } from "../base/async.ts";
import { type Logger, SILENT_LOGGER } from "../base/logger.ts";
import type { Clock, FileSystem } from "../runtime/runtime.ts";
import type { CommitLog } from "./commit_log.ts";
import { diskUsedRatio } from "./disk_ratio.ts";

/** Apache's keys that expiry obeys. May change while it runs. */
export interface CleanCommitLogOptions {
  readonly storePathRootDir: string;
  /** Hours a file is kept after its last change. */
  readonly fileReservedTime: number;
  /** Hours of the day, local time, separated by `;`. */
  readonly deleteWhen: string;
  /** Percent of the disk: above, expired files go at any hour. */
  readonly diskMaxUsedSpaceRatio: number;
  /** Percent: above, files go whatever their age, also those a slave still needs. */
  readonly diskSpaceCleanForciblyRatio: number;
  /** Percent: above, puts are refused as well. */
  readonly diskSpaceWarningLevelRatio: number;
  readonly cleanFileForciblyEnable: boolean;
  /** Most files of one round. */
  readonly deleteFileBatchMax: number;
  /** Between two deletions, ms. */
  readonly deleteCommitLogFilesInterval: number;
}

/** What a round goes by. */
interface Round {
  /** Oldest modification time that is kept, Unix ms; Infinity when age does not count. */
  readonly expireBefore: number;
  /** First byte that must stay for a live slave; Infinity when none needs any. */
  readonly retainFrom: number;
}

const HOUR_MS = 3_600_000;
/** Rounds that {@link CleanCommitLogService.executeDeleteFilesManually} lasts. */
const MANUAL_ROUNDS = 20;

/** Mirrors Apache's `CleanCommitLogService`. */
export class CleanCommitLogService {
  readonly #log: CommitLog;
  readonly #options: CleanCommitLogOptions;
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #retainOffset: () => number | null;
  readonly #dispatchedOffset: () => number;
  #diskFull = false;
  #manualRounds = 0;
  #running = false;
  #stopped = false;
  #heldBackLogged = false;

  /**
   * `retainOffset` tells the lowest offset a live slave still needs; null when there is none. `dispatchedOffset` tells how
   * far consume queues are: their next unit must not find its record gone.
   */
  constructor(
    log: CommitLog,
    options: CleanCommitLogOptions,
    parts: {
      fs: FileSystem;
      clock: Clock;
      logger?: Logger;
      retainOffset: () => number | null;
      dispatchedOffset?: () => number;
    },
  ) {
    this.#log = log;
    this.#options = options;
    this.#fs = parts.fs;
    this.#clock = parts.clock;
    this.#logger = parts.logger ?? SILENT_LOGGER;
    this.#retainOffset = parts.retainOffset;
    this.#dispatchedOffset = parts.dispatchedOffset ?? (() => Infinity);
  }

  /** Whether puts must be refused because the disk is above `diskSpaceWarningLevelRatio`, as of the last round. */
  get diskFull(): boolean {
    return this.#diskFull;
  }

  /** Used share, 0..1, of the least used disk with commit-log files. */
  commitLogDiskRatio(): number {
    return Math.min(...this.#log.mappedFileQueue.directories.map((directory) => this.#usedRatio(directory)));
  }

  /** Used share, 0..1, of the disk with the consume queues. */
  consumeQueueDiskRatio(): number {
    return this.#usedRatio(this.#options.storePathRootDir);
  }

  /** Deletes expired files in the next rounds, whatever the hour. */
  executeDeleteFilesManually(): void {
    this.#manualRounds = MANUAL_ROUNDS;
  }

  /**
   * One round: looks at disk and hour, removes what may go, oldest first, never the last file. Returns how many files
   * went. A round that is still under way makes this one return 0. Throws {@link IoError}.
   */
  async run(): Promise<number> {
    if (this.#running || this.#stopped) return 0;
    this.#running = true;
    try {
      const round = this.#decide();
      return round === null ? 0 : await this.#deleteExpired(round);
    } finally {
      this.#running = false;
    }
  }

  /** Ends a round under way before its next file. */
  stop(): void {
    this.#stopped = true;
  }

  #usedRatio(path: string): number {
    return diskUsedRatio(this.#fs.diskUsage(path));
  }

  #decide(): Round | null {
    const logRatio = this.commitLogDiskRatio();
    const usedRatio = Math.max(logRatio, this.consumeQueueDiskRatio());
    const isForced = usedRatio > clamp(this.#options.diskSpaceCleanForciblyRatio / 100, 0.3, 0.85);
    this.#setDiskFull(usedRatio > clamp(this.#options.diskSpaceWarningLevelRatio / 100, 0.35, 0.9), usedRatio);
    const isManual = this.#manualRounds > 0;
    if (isManual) this.#manualRounds--;
    const isUsageHigh = usedRatio > clamp(this.#options.diskMaxUsedSpaceRatio / 100, 0.1, 0.95);
    if (!isForced && !this.#diskFull && !isUsageHigh && !isManual && !this.#isTimeToDelete()) return null;
    return {
      expireBefore: (isForced || this.#diskFull) && this.#options.cleanFileForciblyEnable
        ? Infinity
        : this.#clock.now() - this.#options.fileReservedTime * HOUR_MS,
      retainFrom: isForced || this.#diskFull ? Infinity : this.#retainOffset() ?? Infinity,
    };
  }

  #isTimeToDelete(): boolean {
    const hour = new Date(this.#clock.now()).getHours();
    return this.#options.deleteWhen.split(";").some((when) => when.trim() !== "" && Number(when) === hour);
  }

  #setDiskFull(diskFull: boolean, usedRatio: number): void {
    if (diskFull === this.#diskFull) return;
    this.#diskFull = diskFull;
    const percent = Math.round(usedRatio * 100);
    if (diskFull) {
      const limit = this.#options.diskSpaceWarningLevelRatio;
      this.#logger.error(`Disk is ${percent} % full, wanted at most ${limit} %: puts are refused until there is room`);
    } else {
      this.#logger.info(`Disk is ${percent} % full: puts are taken again`);
    }
  }

  async #deleteExpired(round: Round): Promise<number> {
    const queue = this.#log.mappedFileQueue;
    let deleted = 0;
    while (deleted < this.#options.deleteFileBatchMax && queue.files.length > 1 && !this.#stopped) {
      const file = queue.files[0]!;
      if (file.modifiedMs() > round.expireBefore) break;
      const end = file.fileFromOffset + file.fileSize;
      // What is not dispatched yet is hardly ever this old, but a disk may fill faster than that.
      if (end > this.#dispatchedOffset()) break;
      if (end > round.retainFrom) {
        this.#logHeldBack(file.path, round.retainFrom);
        break;
      }
      this.#heldBackLogged = false;
      queue.deleteFirstFile();
      // Consume queues follow: a file that came back after a loss of power would lack its units.
      queue.syncDirectories();
      deleted++;
      this.#logger.info(`Deleted expired commit log file "${file.path}"`, { minOffset: this.#log.minOffset });
      await sleep(this.#clock, this.#options.deleteCommitLogFilesInterval);
    }
    return deleted;
  }

  #logHeldBack(path: string, retainFrom: number): void {
    if (this.#heldBackLogged) return;
    this.#heldBackLogged = true;
    this.#logger.warn(`Keeping expired commit log file "${path}": a slave still needs offset ${retainFrom}`);
  }
}

function clamp(value: number, min: number, max: number): number {
  return Math.max(min, Math.min(max, value));
}
