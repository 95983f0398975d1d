// Finding the end of the commit log at start, by Apache 5.3.3's rules, so that an Apache broker opening the same files
// would find the same end. Blocks. The store calls it once, between loading the consume queues and cutting them.

import { readInt32 } from "../base/bytes.ts";
import { IoError } from "../base/errors.ts";
import { type Logger, SILENT_LOGGER } from "../base/logger.ts";
import type { CommitLog } from "./commit_log.ts";
import type { CleanEndNote } from "./clean_end.ts";
import type { RecoveredLog } from "./consume_queue.ts";
import { DispatchReader } from "./dispatch_reader.ts";
import { findLastRecord, scanLog, type ScanResult, searchBehind } from "./log_scan.ts";
import type { MappedFile } from "./mapped_file.ts";
import { RecordField, storeTimestampAt } from "./message_codec.ts";
import { DelayLevels } from "./message_properties.ts";
import { isConsumable } from "./message_sys_flag.ts";
import { isTorn, RecordVerdict } from "./record_validator.ts";
import type { StoreCheckpoint } from "./store_checkpoint.ts";

/** What the start of the walk depends on. */
export interface RecoveryRules {
  /** Whether `abort` was missing: the last process left in order. */
  readonly cleanExit: boolean;
  readonly checkCRCOnRecover: boolean;
  readonly messageIndexEnable: boolean;
  readonly messageIndexSafe: boolean;
}

/** What recovery goes by. */
export interface RecoveryOptions extends RecoveryRules {
  /** Highest end of a record that any consume queue points at, bytes; -1 when none points anywhere. */
  readonly maxPhyOffsetOfConsumeQueue: number;
  /**
   * Gets every record whose consume queue entry may be missing, in order; the bytes are valid until it returns. Entries
   * that are there already must be ignored.
   */
  dispatch(bytes: Uint8Array, at: number): void;
  readonly logger?: Logger;
}

/** What recovery found. */
export interface RecoveryResult {
  /** End of the log: consume queue entries for records at or after it must go. */
  readonly end: number;
  /** Whether there was no commit log at all: then the consume queues must go too. */
  readonly isEmpty: boolean;
  /** Where the walk began. */
  readonly startOffset: number;
  /** Where the files ended before it. */
  readonly filesEnd: number;
  /** Bytes behind the end that had to be cleared, in whole chunks. */
  readonly clearedBytes: number;
  /** Where what stood behind the end is kept; null where no whole record stood there. */
  readonly keptPath: string | null;
}

/**
 * Finds the end, hands records to dispatch, cuts the log there. Mirrors `recoverNormally` and `recoverAbnormally`, with
 * these differences: what is behind the end is zeroed, and kept elsewhere if it holds whole records (bit rot, no torn
 * tail); the physical offset of a record counts, the record that starts exactly where the consume queues end is
 * dispatched, a filler that ends the last file is kept, and a record that was not on the disk yet when the power went is
 * none if its end is missing. Throws {@link IoError}, also when what must be kept can't be.
 */
export function recoverCommitLog(
  log: CommitLog,
  checkpoint: StoreCheckpoint,
  options: RecoveryOptions,
): RecoveryResult {
  const logger = options.logger ?? SILENT_LOGGER;
  const files = log.mappedFileQueue.files;
  const note = log.takeCleanEnd();
  if (files.length === 0) {
    log.setRecoveredEnd(0, -1);
    return { end: 0, isEmpty: true, startOffset: 0, filesEnd: 0, clearedBytes: 0, keptPath: null };
  }
  const knownEnd = options.cleanExit ? note : null;
  const walk = walkFromQueues(log, knownEnd, options) ?? walkFromFile(log, checkpoint, options);
  const { scan, startOffset } = walk;
  const filesEnd = files.at(-1)!.fileFromOffset + log.mappedFileSize;
  let lastRecordOffset = scan.lastRecordOffset;
  if (lastRecordOffset < 0 && scan.end === knownEnd?.end) lastRecordOffset = knownEnd.lastRecordOffset;
  if (lastRecordOffset < 0) lastRecordOffset = findLastRecord(log.mappedFileQueue, scan.end, log.ownValidator(false));
  const isKnown = scan.end === knownEnd?.end;
  const behind = isKnown ? null : searchBehind(log.mappedFileQueue, scan.end, log.ownValidator(true));
  const keptPath = behind !== null && behind.recordOffset >= 0 ? keepBehind(log, scan, logger) : null;
  const clearedBytes = log.setRecoveredEnd(scan.end, lastRecordOffset, behind === null ? null : behind.dataEnd);
  if (lastRecordOffset >= 0) checkpoint.confirmPhyOffset = lastRecordOffset;
  if (clearedBytes > 0 && keptPath === null) {
    logger.warn(`Commit log ends at ${scan.end}: ${scan.stopDetail}; cleared what stood behind it`, {
      clearedBytes,
      filesEnd,
    });
  }
  return { end: scan.end, isEmpty: false, startOffset, filesEnd, clearedBytes, keptPath };
}

/** Whole records behind the end are no torn tail: something is wrong with the disk, and they may be all there is. */
function keepBehind(log: CommitLog, { end, stopDetail }: ScanResult, logger: Logger): string {
  const why = `${stopDetail || "what follows is missing"}, but whole records stand behind it`;
  try {
    const { path, bytes } = log.keepBehind(end);
    logger.error(`Commit log is cut at ${end}: ${why}; kept ${bytes} bytes in "${path}"`);
    return path;
  } catch (error) {
    if (!(error instanceof IoError)) throw error;
    const advice = "keeping them failed, make room or copy the store";
    throw new IoError(
      error.kind,
      `Commit log must be cut at ${end}: ${why}; ${advice}: ${error.message}`,
      error.code,
    );
  }
}

interface Walk {
  readonly scan: ScanResult;
  readonly startOffset: number;
}

/**
 * After our own clean stop all up to the noted end is on the disk, and the consume queues tell where their last record
 * ends: the walk need only go over what is behind that. Null where it does not arrive at the noted end.
 */
function walkFromQueues(log: CommitLog, note: CleanEndNote | null, options: RecoveryOptions): Walk | null {
  const startOffset = options.maxPhyOffsetOfConsumeQueue;
  const queue = log.mappedFileQueue;
  if (note === null || startOffset < queue.minOffset || startOffset > note.end) return null;
  queue.completeFiles(startOffset);
  const validator = log.ownValidator(options.checkCRCOnRecover);
  // A second walk over the same records does no harm: dispatch ignores what it has.
  const scan = scanLog(queue, startOffset, Infinity, validator, (bytes, at) => options.dispatch(bytes, at));
  return scan.end === note.end ? { scan, startOffset } : null;
}

/** The walk that Apache does: from the start of the newest file that is safe. */
function walkFromFile(log: CommitLog, checkpoint: StoreCheckpoint, options: RecoveryOptions): Walk {
  const startOffset = findStartFile(log, checkpoint, options).fileFromOffset;
  log.mappedFileQueue.completeFiles(startOffset);
  const dispatchFrom = options.cleanExit ? options.maxPhyOffsetOfConsumeQueue : -1;
  const validator = log.ownValidator(options.checkCRCOnRecover);
  const scan = scanLog(log.mappedFileQueue, startOffset, Infinity, validator, (bytes, at, size, offset) => {
    const mayBeTorn = !options.cleanExit && storeTimestampAt(bytes, at) > checkpoint.minTimestamp;
    if (mayBeTorn && isTorn(bytes, at, size, offset % log.mappedFileSize)) {
      return "the end of a record is missing, a loss of power took it";
    }
    if (offset >= dispatchFrom) options.dispatch(bytes, at);
  });
  return { scan, startOffset };
}

/** Where the walk begins after an unclean exit: log, queues and checkpoint agree on everything below. */
export function startAfterCrash(log: CommitLog, checkpoint: StoreCheckpoint, rules: RecoveryRules): number {
  if (log.mappedFileQueue.files.length === 0) return 0;
  const options = { ...rules, maxPhyOffsetOfConsumeQueue: -1 };
  return findStartFile(log, checkpoint, options).fileFromOffset;
}

/** The newest file that is safe to start from; the first one when none is. Mirrors `isMappedFileMatchedRecover`. */
function findStartFile(
  log: CommitLog,
  checkpoint: StoreCheckpoint,
  options: RecoveryRules & Pick<RecoveryOptions, "maxPhyOffsetOfConsumeQueue">,
): MappedFile {
  const files = log.mappedFileQueue.files;
  for (let index = files.length - 1; index > 0; index--) {
    const storeTimestamp = firstStoreTimestamp(log, files[index]!, options.checkCRCOnRecover);
    if (storeTimestamp === null || storeTimestamp === 0) continue;
    if (options.messageIndexEnable && options.messageIndexSafe && storeTimestamp > checkpoint.indexMsgTimestamp) {
      continue;
    }
    const isSafe = options.cleanExit
      ? files[index]!.fileFromOffset <= options.maxPhyOffsetOfConsumeQueue
      : storeTimestamp <= checkpoint.minTimestamp;
    if (isSafe) return files[index]!;
  }
  return files[0]!;
}

/** Store timestamp of the file's first record, Unix ms; null when it starts with none. */
function firstStoreTimestamp(log: CommitLog, file: MappedFile, checkCRC: boolean): number | null {
  const validator = log.ownValidator(checkCRC);
  let bytes = new Uint8Array(Math.min(8, file.fileSize));
  for (;;) {
    const count = file.readAt(bytes, 0);
    const verdict = validator.check(bytes, 0, count, file.fileFromOffset);
    if (verdict === RecordVerdict.OK) return storeTimestampAt(bytes, 0);
    if (verdict !== RecordVerdict.PARTIAL || validator.isBlank || validator.size <= bytes.length) return null;
    bytes = new Uint8Array(validator.size);
  }
}

/** The log after {@link recoverCommitLog}, for the check of consume queues. `onDamage` is called once at most. */
export function recoveredLog(log: CommitLog, filesEnd: number, onDamage: () => void): RecoveredLog {
  const validator = log.ownValidator(false);
  const record = new DispatchReader(new DelayLevels());
  const front = new Uint8Array(RecordField.TOTAL_SIZE + 4);
  let isDamaged = false;
  return {
    minOffset: log.minOffset,
    maxOffset: log.maxOffset,
    // A loss of power may have taken the last file as a whole.
    lostEnd: filesEnd + log.mappedFileSize,
    queueOffsetAt(topic, queueId, pos, size) {
      const file = log.mappedFileQueue.findMappedFileByOffset(pos);
      if (file === null || pos + size > file.fileFromOffset + file.wrotePosition) return -1;
      // A size comes from a unit, which may be damaged: no memory for what is not there.
      if (file.readAt(front, pos - file.fileFromOffset) < 4 || readInt32(front, 0) !== size || size <= 0) return -1;
      const bytes = new Uint8Array(size);
      file.readAt(bytes, pos - file.fileFromOffset);
      if (validator.check(bytes, 0, size, pos) !== RecordVerdict.OK || !record.read(bytes, 0)) return -1;
      const isOfQueue = record.topic === topic && record.queueId === queueId && isConsumable(record.sysFlag);
      return isOfQueue ? record.consumeQueueOffset : -1;
    },
    onDamage() {
      if (!isDamaged) onDamage();
      isDamaged = true;
    },
  };
}

/**
 * Hands all records in `[from, to)` to dispatch, `from` being one's start. What is no record there, which only happens
 * below what recovery walked, rotted since: it is skipped, loudly. Blocks.
 */
export function dispatchAgain(
  log: CommitLog,
  from: number,
  to: number,
  dispatch: (bytes: Uint8Array, at: number) => void,
  logger: Logger,
): void {
  const queue = log.mappedFileQueue;
  for (let at = from; at >= 0 && at < to;) {
    const { end, stopDetail } = scanLog(queue, at, to, log.ownValidator(false), (bytes, at) => dispatch(bytes, at));
    if (end >= to) return;
    logger.error("The log holds something that is no record; dispatch skips it. Run verify on the store", {
      physicOffset: end,
      detail: stopDetail,
    });
    at = searchBehind(queue, end, log.ownValidator(false)).recordOffset;
  }
}
