// One consume queue in Apache's format: 20-byte units in files of a fixed size, each pointing at one record of the log.
// It owns what its files hold, not which records get a unit (ReputMessageService) nor when it is flushed or expired
// (ConsumeQueueStore). Units put are gathered and reach the file in one write by `writePending`; only then are they read.
//
//   | commitLogOffset: 8 | size: 4 | tagsCode: 8 |     unit of queue offset i at byte i * 20 of the queue

import { readInt32, readInt64, writeInt32, writeInt64 } from "../base/bytes.ts";
import { assert } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { HandlePool } from "./handle_pool.ts";
import { isZero, type MappedFile } from "./mapped_file.ts";
import { MappedFileQueue } from "./mapped_file_queue.ts";

/** Bytes of a unit: `CQ_STORE_UNIT_SIZE`. */
export const CQ_STORE_UNIT_SIZE = 20;
/** Size field of the units that fill the front of a queue that does not start at 0. */
const PRE_BLANK_SIZE = 0x7fff_ffff;
const PENDING_UNITS_MIN = 4;
/** Kept between slices for a busy queue; more is given back. */
const PENDING_UNITS_KEPT = 1024;
/** Units of a queue that recovery reads at once, and keeps. */
const COMPARED_UNITS = 64;
/** Units read at once in search of the end: more than a block of the file system holds, wherever it begins. */
const PAGE_UNITS = 206;
/** Units scanned at once in a queue that has more than a page of them. */
const SCANNED_UNITS = 4096;
const NOTHING = new Uint8Array(0);
/** A loss of power leaves a sector of the disk old or new. */
const SECTOR_SIZE = 512;

/** One unit. Mirrors Apache's `CqUnit`. */
export interface CqUnit {
  /** Index in the queue. */
  readonly queueOffset: number;
  /** Start of the record in the log. */
  readonly pos: number;
  /** Bytes of the record. */
  readonly size: number;
  /** Hash of the tag, or deliver time. Not exact when it is the address of an extension unit (below -2^53). */
  readonly tagsCode: number;
}

/** The commit log, its end found, as a queue is checked against it after an unclean exit. Offsets are bytes of it. */
export interface RecoveredLog {
  readonly minOffset: number;
  readonly maxOffset: number;
  /** Records that a loss of power took ended here at most. */
  readonly lostEnd: number;
  /** Queue offset of the record at `pos`, if one of that size, topic and queue begins there; else -1. */
  queueOffsetAt(topic: string, queueId: number, pos: number, size: number): number;
  /** Comes before units are cut that were flushed once: no later recovery may take them for being there. */
  onDamage(): void;
}

/** What all queues of a store share. */
export interface ConsumeQueueParts {
  readonly pool: HandlePool;
  readonly logger: Logger;
  /** Bytes of each file, a multiple of 20. */
  readonly mappedFileSize: number;
}

/** Where a scan of units ended, bytes of the queue, and whether it met what is neither a unit nor one half written. */
interface UnitScan {
  readonly end: number;
  readonly isDamaged: boolean;
}

/** One queue of one topic. Mirrors Apache's `ConsumeQueue`. Methods throw {@link IoError} from the disk. */
export class ConsumeQueue {
  readonly topic: string;
  readonly queueId: number;
  /** End of the last record that has a unit; -1 for none. */
  maxPhysicOffset = -1;

  readonly #queue: MappedFileQueue;
  readonly #logger: Logger;
  /** First valid byte: what lies below points at records that are gone. */
  #minLogicOffset = 0;
  /** Where the log began when it was last said; -1 once `#minLogicOffset` follows from it. */
  #minPhyOffset = -1;
  #pending: Uint8Array = NOTHING;
  #pendingSize = 0;
  /** Units read last while the queue is recovered, so that its steps open the file once; the queue offset of the first. */
  #page: Uint8Array = NOTHING;
  #pageFrom = 0;

  constructor(parts: ConsumeQueueParts, directory: string, topic: string, queueId: number) {
    const { pool, logger, mappedFileSize } = parts;
    this.#queue = new MappedFileQueue({
      pool,
      logger,
      directories: [directory],
      mappedFileSize,
      sizeSetting: "mappedFileSizeConsumeQueue",
    });
    this.#logger = logger;
    this.topic = topic;
    this.queueId = queueId;
  }

  /** Finds the files. Throws {@link StoreError} for a size that is not the configured one, or a gap. */
  load(lastExitOk = true): void {
    this.#queue.load(lastExitOk);
    this.#minLogicOffset = this.#queue.minOffset;
  }

  /**
   * Finds the end of the units. After a clean exit they are a gapless run, and its end is searched; else the last three
   * files, as in Apache, and all before them that were not flushed are scanned, and what follows the first unit that is
   * not valid is cut. Units of records below `flushedTo`, bytes of the log, are known to have been on the disk: with `log`
   * the last of them must be its record's still, and none may be missing behind it. Returns from where records must be
   * dispatched again; Infinity when what lies below `flushedTo` is whole.
   */
  recover(lastExitOk: boolean, flushedTo = Infinity, log: RecoveredLog | null = null): number {
    if (this.#queue.files.length === 0) return Infinity;
    if (lastExitOk) {
      this.#queue.completeFiles(0);
      this.#setEnd(this.#searchEnd());
      this.#page = NOTHING;
      this.#queue.flushedWhere = this.#wrote;
      return Infinity;
    }
    const scanFrom = this.#scanStart(flushedTo);
    this.#queue.dropShortFront(scanFrom);
    this.#queue.completeFiles(scanFrom);
    const scan = this.#scanEnd(scanFrom);
    const { end, from, next } = log === null
      ? { end: scan.end, from: Infinity, next: Infinity }
      : this.#check(scan, flushedTo, log);
    if (from < Infinity) log?.onDamage();
    this.#cut(end);
    this.#keepPage(next);
    this.#queue.flushedWhere = this.#queue.minOffset;
    return from;
  }

  #searchEnd(): number {
    for (const file of this.#queue.files.toReversed()) {
      const end = this.#searchEndIn(file);
      if (end * CQ_STORE_UNIT_SIZE > file.fileFromOffset) return end * CQ_STORE_UNIT_SIZE;
    }
    return this.#queue.minOffset;
  }

  /**
   * Index of the file's first unit that is none, found by reading pages: first where the blocks that the file takes end,
   * as a sparse file has none behind its units, or at its front where it takes all of them; then ever farther from there,
   * but never worse than by halving. The hint only saves time: what was read decides.
   */
  #searchEndIn(file: MappedFile): number {
    const page = new Uint8Array(PAGE_UNITS * CQ_STORE_UNIT_SIZE);
    let low = file.fileFromOffset / CQ_STORE_UNIT_SIZE;
    let high = low + file.fileSize / CQ_STORE_UNIT_SIZE;
    const hint = file.allocated < file.fileSize ? file.allocated : 0;
    let at = low + Math.ceil(hint / CQ_STORE_UNIT_SIZE) - PAGE_UNITS;
    for (let step = PAGE_UNITS; low < high; step *= 8) {
      const from = Math.max(low, Math.min(at, high - 1));
      this.#readPage(from, page.subarray(0, (high - from) * CQ_STORE_UNIT_SIZE));
      const count = this.#page.length / CQ_STORE_UNIT_SIZE;
      const valid = searchFirst(0, count, (index) => isUnit(this.#unitAt(from + index)));
      if (valid > 0) low = from + valid;
      if (valid < count) high = from + valid;
      const middle = Math.floor((low + high - PAGE_UNITS) / 2);
      at = valid > 0 ? Math.min(low + step - PAGE_UNITS, middle) : Math.max(high - step, middle);
    }
    return low;
  }

  #readPage(from: number, target: Uint8Array): Uint8Array {
    this.#pageFrom = from;
    this.#page = this.readUnits(from, target);
    assert(this.#page.length > 0, `Consume queue ${this.topic}/${this.queueId} holds no unit ${from}`);
    return this.#page;
  }

  /** Keeps what is at hand of the units from `from` on, and not their page. */
  #keepPage(from: number): void {
    const at = (from - this.#pageFrom) * CQ_STORE_UNIT_SIZE;
    const isThere = at >= 0 && at < this.#page.length;
    this.#page = isThere ? this.#page.slice(at, at + COMPARED_UNITS * CQ_STORE_UNIT_SIZE) : NOTHING;
    this.#pageFrom = from;
  }

  /** The third file from the end, or the first before it that begins with a unit which was flushed. */
  #scanStart(flushedTo: number): number {
    const { files } = this.#queue;
    for (let i = Math.max(0, files.length - 3); i > 0; i--) {
      const { fileFromOffset } = files[i]!;
      const { pos, size } = this.#unitAt(fileFromOffset / CQ_STORE_UNIT_SIZE);
      if (pos >= 0 && size > 0 && pos < flushedTo) return fileFromOffset;
    }
    return files[0]!.fileFromOffset;
  }

  #scanEnd(scanFrom: number): UnitScan {
    let chunk = new Uint8Array(PAGE_UNITS * CQ_STORE_UNIT_SIZE);
    const end = this.#queue.maxOffset;
    let previousEnd = -1;
    for (let at = scanFrom; at < end;) {
      if (at > scanFrom && chunk.length < SCANNED_UNITS * CQ_STORE_UNIT_SIZE) {
        chunk = new Uint8Array(SCANNED_UNITS * CQ_STORE_UNIT_SIZE);
      }
      const bytes = this.#readPage(at / CQ_STORE_UNIT_SIZE, chunk);
      for (let i = 0; i < bytes.length; i += CQ_STORE_UNIT_SIZE, at += CQ_STORE_UNIT_SIZE) {
        const pos = readInt64(bytes, i);
        const size = readInt32(bytes, i + 8);
        if (isPreBlank(pos, size)) continue;
        // Offsets only grow in a queue: a step back is a stale unit beyond an earlier cut.
        if (pos < 0 || size <= 0 || pos < previousEnd) {
          return { end: at, isDamaged: !isUnwritten(bytes.subarray(i, i + CQ_STORE_UNIT_SIZE), at) };
        }
        previousEnd = pos + size;
      }
    }
    return { end, isDamaged: false };
  }

  /**
   * Whether the units of records below `flushedTo` end in order: the last one is its record's, and what follows it is
   * nothing, or the unit of the queue's next record. If not, the queue is cut behind a unit that is, whose record
   * dispatch must begin with. `next` is the index of the first unit that was perhaps never flushed.
   */
  #check(scan: UnitScan, flushedTo: number, log: RecoveredLog): { end: number; from: number; next: number } {
    const first = this.#queue.minOffset / CQ_STORE_UNIT_SIZE;
    const scanned = scan.end / CQ_STORE_UNIT_SIZE;
    const next = searchFirst(first, scanned, (index) => {
      const { pos, size } = this.#unitAt(index);
      return isPreBlank(pos, size) || pos < flushedTo;
    });
    const isWhole = this.#isNextSound(next, scan, log) && this.#isLastSound(next - 1, first, log);
    if (isWhole) return { end: scan.end, from: Infinity, next };
    for (let index = next - 1, step = 1; index >= first; index -= step, step *= 2) {
      const { pos, size } = this.#unitAt(index);
      const end = (index + 1) * CQ_STORE_UNIT_SIZE;
      if (isPreBlank(pos, size) || pos < log.minOffset) return { end, from: log.minOffset, next };
      if (log.queueOffsetAt(this.topic, this.queueId, pos, size) === index) return { end, from: pos, next };
    }
    return { end: this.#queue.minOffset, from: log.minOffset, next };
  }

  /** `index` is of the first unit that was perhaps never flushed. */
  #isNextSound(index: number, scan: UnitScan, log: RecoveredLog): boolean {
    if (index * CQ_STORE_UNIT_SIZE >= scan.end) return !scan.isDamaged;
    const { pos, size } = this.#unitAt(index);
    if (log.queueOffsetAt(this.topic, this.queueId, pos, size) === index) return true;
    const mayBeLost = pos >= log.maxOffset && pos < log.lostEnd;
    return mayBeLost && !scan.isDamaged;
  }

  /** `index` is of the last unit that was flushed. */
  #isLastSound(index: number, first: number, log: RecoveredLog): boolean {
    if (index < first) return true;
    const { pos, size } = this.#unitAt(index);
    if (isPreBlank(pos, size) || pos < log.minOffset) return true;
    return this.#isSomeRecords(index, pos, size, log);
  }

  /** Whether a unit is a record's of this queue, in its place or, as in Apache, too far in front after a gap. */
  #isSomeRecords(index: number, pos: number, size: number, log: RecoveredLog): boolean {
    const queueOffset = log.queueOffsetAt(this.topic, this.queueId, pos, size);
    return queueOffset >= index || queueOffset === 0;
  }

  /**
   * In recovery, before a record is put: if the unit in its place is neither its own nor any other record's, the queue is
   * cut there, durably.
   */
  compareUnit(pos: number, size: number, tagsCode: number, queueOffset: number, log: RecoveredLog): void {
    if (this.#pendingSize > 0 || queueOffset >= this.maxOffsetInQueue) return;
    if (queueOffset * CQ_STORE_UNIT_SIZE < this.#queue.minOffset) return;
    if (!this.#isAtHand(queueOffset)) {
      this.#readPage(queueOffset, new Uint8Array(COMPARED_UNITS * CQ_STORE_UNIT_SIZE));
    }
    const unit = this.#unitAt(queueOffset);
    if (unit.pos === pos && unit.size === size && unit.tagsCode === tagsCode) return;
    if (isPreBlank(unit.pos, unit.size)) return;
    if (unit.pos !== pos && this.#isSomeRecords(queueOffset, unit.pos, unit.size, log)) return;
    this.#logger.warn("A consume queue is cut at a unit that is not its record's; it is dispatched again", {
      topic: this.topic,
      queueId: this.queueId,
      queueOffset,
    });
    this.#cut(queueOffset * CQ_STORE_UNIT_SIZE);
  }

  /** Recovery's last step: cuts units at the end, durably, that are no record's. */
  endRecovery(log: RecoveredLog): void {
    let index = this.maxOffsetInQueue;
    for (; index * CQ_STORE_UNIT_SIZE > this.#queue.minOffset; index--) {
      const { pos, size } = this.#unitAt(index - 1);
      if (isPreBlank(pos, size) || pos < log.minOffset || this.#isSomeRecords(index - 1, pos, size, log)) break;
    }
    if (index < this.maxOffsetInQueue) this.#cut(index * CQ_STORE_UNIT_SIZE);
    this.#page = NOTHING;
  }

  /** Writes the units of records at or beyond `flushedTo` once more, so that the next flush brings them to the disk. */
  rewrite(flushedTo: number): void {
    const from = this.#firstUnitFrom(flushedTo) * CQ_STORE_UNIT_SIZE;
    for (const file of this.#queue.files) if (file.fileFromOffset + file.fileSize > from) file.rewrite(false);
    this.#queue.flushedWhere = Math.min(this.#queue.flushedWhere, from);
  }

  /** Makes `end` the end: what follows in its file becomes zero, and later files go, both on the disk too. */
  #cut(end: number): void {
    const fileCount = this.#queue.files.length;
    this.#setEnd(end);
    const last = this.#queue.lastFile;
    if (last !== null && last.zeroFrom(last.wrotePosition) > 0) last.syncBlocking();
    if (this.#queue.files.length < fileCount) this.#queue.syncDirectories();
  }

  #setEnd(end: number): void {
    this.#pendingSize = 0;
    this.#page = this.#page.subarray(0, Math.max(0, end - this.#pageFrom * CQ_STORE_UNIT_SIZE));
    this.#queue.truncateDirtyFiles(end);
    this.#minLogicOffset = Math.min(this.#minLogicOffset, this.#wrote);
    this.#setMaxPhysicOffset();
  }

  #setMaxPhysicOffset(): void {
    this.maxPhysicOffset = -1;
    if (this.#wrote === this.#queue.minOffset) return;
    const { pos, size } = this.#unitAt(this.#wrote / CQ_STORE_UNIT_SIZE - 1);
    if (!isPreBlank(pos, size)) this.maxPhysicOffset = pos + size;
  }

  /** End of the units in files, bytes. */
  get #wrote(): number {
    return this.#queue.maxOffset;
  }

  /**
   * Adds the unit of queue offset `queueOffset`. A record below `maxPhysicOffset`, or a queue offset below the end,
   * has its unit already: nothing happens. One beyond the end is reported and still added at the end, as Apache does;
   * but where all units are of expired records, what lies between has expired, too, and the queue begins anew. So it does
   * with a queue offset of 0: whoever wrote the record had removed the queue with its topic. (Apache adds that one at the
   * end and leaves out those that follow: a slave of it lacks the messages of a topic that is made again.)
   */
  putMessagePositionInfo(pos: number, size: number, tagsCode: number, queueOffset: number): void {
    if (pos + size <= this.maxPhysicOffset) return;
    if (queueOffset === 0 && this.nextOffsetInQueue > 0) this.#beginAnew(pos);
    const isEmpty = this.#isEmpty || (queueOffset > this.nextOffsetInQueue && this.#hasOnlyExpired);
    if (isEmpty && queueOffset !== this.nextOffsetInQueue) this.#startAt(queueOffset);
    const next = this.nextOffsetInQueue;
    if (queueOffset < next) return;
    if (queueOffset !== next) {
      this.#logger.warn("A message's queue offset is not the next of its consume queue; its unit is added at the end", {
        topic: this.topic,
        queueId: this.queueId,
        queueOffset,
        wanted: next,
        physicOffset: pos,
      });
    }
    if (this.#pending.length < this.#pendingSize + CQ_STORE_UNIT_SIZE) this.#growPending();
    encodeCqUnit(this.#pending, this.#pendingSize, pos, size, tagsCode);
    this.#pendingSize += CQ_STORE_UNIT_SIZE;
    this.maxPhysicOffset = pos + size;
  }

  #beginAnew(pos: number): void {
    this.#logger.info("A consume queue begins anew: its topic was deleted and made again", {
      topic: this.topic,
      queueId: this.queueId,
      queueOffset: this.nextOffsetInQueue,
      physicOffset: pos,
    });
    this.destroy();
  }

  get #isEmpty(): boolean {
    return this.#wrote === this.#queue.minOffset && this.#pendingSize === 0;
  }

  get #hasOnlyExpired(): boolean {
    return this.minOffsetInQueue === this.maxOffsetInQueue && this.#pendingSize === 0;
  }

  #growPending(): void {
    const grown = new Uint8Array(Math.max(PENDING_UNITS_MIN * CQ_STORE_UNIT_SIZE, this.#pending.length * 2));
    grown.set(this.#pending.subarray(0, this.#pendingSize));
    this.#pending = grown;
  }

  /** A queue whose first message here is not its first ever: the file gets units in front that point nowhere. */
  #startAt(queueOffset: number): void {
    this.#queue.destroy();
    this.#page = NOTHING;
    const file = this.#queue.getLastMappedFile(queueOffset * CQ_STORE_UNIT_SIZE);
    const filler = new Uint8Array(queueOffset * CQ_STORE_UNIT_SIZE - file.fileFromOffset);
    for (let at = 0; at < filler.length; at += CQ_STORE_UNIT_SIZE) encodeCqUnit(filler, at, 0, PRE_BLANK_SIZE, 0);
    file.append(filler);
    this.#minLogicOffset = this.#wrote;
    this.#minPhyOffset = -1;
    this.#queue.flushedWhere = file.fileFromOffset;
  }

  /** Whether units wait for {@link writePending}. */
  get hasPending(): boolean {
    return this.#pendingSize > 0;
  }

  /** Brings the units put to the files. After a failure the rest stays pending: call it again. */
  writePending(): void {
    while (this.#pendingSize > 0) {
      const file = this.#queue.getLastMappedFile();
      const count = Math.min(this.#pendingSize, file.fileSize - file.wrotePosition);
      file.append(this.#pending.subarray(0, count));
      this.#pending.copyWithin(0, count, this.#pendingSize);
      this.#pendingSize -= count;
    }
    if (this.#pending.length > PENDING_UNITS_KEPT * CQ_STORE_UNIT_SIZE) this.#pending = NOTHING;
  }

  /** Index of the first valid unit, found when it is asked for. Throws {@link IoError}. Mirrors `getMinOffsetInQueue`. */
  get minOffsetInQueue(): number {
    if (this.#minPhyOffset >= 0) {
      this.#minLogicOffset = this.#firstUnitFrom(this.#minPhyOffset) * CQ_STORE_UNIT_SIZE;
      this.#minPhyOffset = -1;
    }
    return this.#minLogicOffset / CQ_STORE_UNIT_SIZE;
  }

  /** Index after the last unit that can be read. Mirrors `getMaxOffsetInQueue`. */
  get maxOffsetInQueue(): number {
    return this.#wrote / CQ_STORE_UNIT_SIZE;
  }

  /** Index after the last unit put, to be read already or not: the queue offset of the next message. */
  get nextOffsetInQueue(): number {
    return (this.#wrote + this.#pendingSize) / CQ_STORE_UNIT_SIZE;
  }

  /** Index of the first unit of the file after the one that holds `queueOffset`. Mirrors `rollNextFile`. */
  rollNextFile(queueOffset: number): number {
    const perFile = this.#queue.mappedFileSize / CQ_STORE_UNIT_SIZE;
    return queueOffset + perFile - queueOffset % perFile;
  }

  /**
   * Reads units from `queueOffset` into `target`, up to the end of the file that holds it or of the queue; returns the
   * part filled, empty where there is nothing.
   */
  readUnits(queueOffset: number, target: Uint8Array): Uint8Array {
    const file = this.#queue.findMappedFileByOffset(queueOffset * CQ_STORE_UNIT_SIZE);
    if (file === null) return target.subarray(0, 0);
    const position = queueOffset * CQ_STORE_UNIT_SIZE - file.fileFromOffset;
    const count = Math.max(0, Math.min(target.length, file.wrotePosition - position));
    const bytes = target.subarray(0, count - count % CQ_STORE_UNIT_SIZE);
    file.readHotAt(bytes, position);
    return bytes;
  }

  /** The unit at `queueOffset`; null outside `[minOffsetInQueue, maxOffsetInQueue)`. */
  get(queueOffset: number): CqUnit | null {
    if (queueOffset < this.minOffsetInQueue || queueOffset >= this.maxOffsetInQueue) return null;
    return this.#unitAt(queueOffset);
  }

  #isAtHand(queueOffset: number): boolean {
    const at = (queueOffset - this.#pageFrom) * CQ_STORE_UNIT_SIZE;
    return at >= 0 && at < this.#page.length;
  }

  #unitAt(queueOffset: number): CqUnit {
    if (this.#isAtHand(queueOffset)) {
      return decodeCqUnit(this.#page, (queueOffset - this.#pageFrom) * CQ_STORE_UNIT_SIZE, queueOffset);
    }
    const bytes = this.readUnits(queueOffset, new Uint8Array(CQ_STORE_UNIT_SIZE));
    assert(bytes.length > 0, `Consume queue ${this.topic}/${this.queueId} holds no unit ${queueOffset}`);
    return decodeCqUnit(bytes, 0, queueOffset);
  }

  /**
   * Moves the begin to the first unit that points at or beyond `minPhyOffset`; it is searched only once somebody asks, as
   * a store may have tens of thousands of queues and readers for a few. Mirrors `correctMinOffset`.
   */
  correctMinOffset(minPhyOffset: number): void {
    this.#minPhyOffset = minPhyOffset;
  }

  /** Index of the first unit of a record at or beyond `phyOffset`; the end when there is none. */
  #firstUnitFrom(phyOffset: number): number {
    return searchFirst(this.#queue.minOffset / CQ_STORE_UNIT_SIZE, this.maxOffsetInQueue, (index) => {
      const unit = this.#unitAt(index);
      return isPreBlank(unit.pos, unit.size) || unit.pos < phyOffset;
    });
  }

  /** Removes files, never the last, whose last unit points below `minPhyOffset`. Returns how many. */
  deleteExpiredFile(minPhyOffset: number): number {
    let count = 0;
    for (let next = this.#queue.files[1]; next !== undefined; next = this.#queue.files[1]) {
      const last = this.#unitAt(next.fileFromOffset / CQ_STORE_UNIT_SIZE - 1);
      if (!isPreBlank(last.pos, last.size) && last.pos >= minPhyOffset) break;
      this.#queue.deleteFirstFile();
      count++;
    }
    this.correctMinOffset(minPhyOffset);
    return count;
  }

  /** Cuts units of records at or beyond `phyOffset`. Mirrors `truncateDirtyLogicFiles`. No flush may be under way. */
  truncate(phyOffset: number): void {
    this.writePending();
    if (this.maxPhysicOffset <= phyOffset) return;
    this.#cut(this.#firstUnitFrom(phyOffset) * CQ_STORE_UNIT_SIZE);
    // Files that went must not come back after a loss of power.
    this.#queue.flushBlocking();
  }

  /** Bytes that are in files and perhaps not on the disk. */
  get dirtyBytes(): number {
    return this.#wrote - this.#queue.flushedWhere;
  }

  /** Makes everything that was in files when called durable. One at a time. */
  async flush(): Promise<void> {
    await this.#queue.flush();
  }

  /** {@link flush}, blocking. */
  flushBlocking(): void {
    if (this.dirtyBytes > 0) this.#queue.flushBlocking();
  }

  /** Removes the queue's files and forgets what was pending. */
  destroy(): void {
    this.#queue.destroy();
    this.#page = NOTHING;
    this.#pendingSize = this.#minLogicOffset = 0;
    this.#minPhyOffset = this.maxPhysicOffset = -1;
  }
}

/** First index of `[from, end)` for which `isBelow` is false, where it is true for a front part only; else `end`. */
export function searchFirst(from: number, end: number, isBelow: (index: number) => boolean): number {
  while (from < end) {
    const middle = Math.floor((from + end) / 2);
    if (isBelow(middle)) from = middle + 1;
    else end = middle;
  }
  return from;
}

function isUnit({ pos, size }: CqUnit): boolean {
  return pos >= 0 && size > 0;
}

/** Whether a unit only fills the front of a queue. */
export function isPreBlank(pos: number, size: number): boolean {
  return pos === 0 && size === PRE_BLANK_SIZE;
}

/** Whether what stands at `position` of a queue, and is no unit, is nothing or one that a loss of power cut in two. */
function isUnwritten(bytes: Uint8Array, position: number): boolean {
  if (isZero(bytes)) return true;
  if (position % SECTOR_SIZE <= SECTOR_SIZE - CQ_STORE_UNIT_SIZE) return false;
  return readInt64(bytes, 0) === 0 || readInt32(bytes, 8) === 0;
}

/** Writes a unit at `at`. */
export function encodeCqUnit(target: Uint8Array, at: number, pos: number, size: number, tagsCode: number): void {
  writeInt64(target, at, pos);
  writeInt32(target, at + 8, size);
  writeInt64(target, at + 12, tagsCode);
}

/** Reads the unit at `at`. */
export function decodeCqUnit(bytes: Uint8Array, at: number, queueOffset: number): CqUnit {
  return {
    queueOffset,
    pos: readInt64(bytes, at),
    size: readInt32(bytes, at + 8),
    tagsCode: readInt64(bytes, at + 12),
  };
}
