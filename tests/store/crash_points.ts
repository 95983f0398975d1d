// One store that does something short, and what every loss of power on the way may leave of it: each disk that can remain
// is given to a new machine, where the store recovers and must hold what was promised. It owns the trace, its promises
// and the checks; what a disk may lose is crash_journal.ts's, what happens is crash_points_test.ts's.

import assert from "node:assert/strict";
import { utf8, writeInt32 } from "../../src/base/bytes.ts";
import { type SimulatedHost, SimulatedWorld, WALL_START_MS } from "../../src/runtime/simulated/mod.ts";
import { MessageStore, type MessageStoreOptions } from "../../src/store/message_store.ts";
import { verifyStore } from "../../src/store/store_verify.ts";
import { type AppendMessageResult, PutMessageStatus } from "../../src/store/types.ts";
import { message, SMALL } from "../support/store_kit.ts";
import { CrashJournal, digestOf, type DiskImage, loadImage, type Loss } from "./crash_journal.ts";
import { checkDerived, deriveRecords, nextQueueOffsets } from "./derived_check.ts";

export const ROOT = "/data/store";
const FILE_SIZE = SMALL.mappedFileSizeCommitLog;
const DEADLINE_MS = 600_000;
const HOUR_MS = 3_600_000;
/** Longer than any timer of a store, so that what a crash took of the index is there again. */
const REST_MS = 3_000;
/** Slow enough that a trace can put messages while a sync is under way. */
const SLOW_SYNC = { syncLatencyMinUs: 5_000, syncLatencyMaxUs: 9_000 };

/** A master's log, for a store that copies it. */
export interface Source {
  readonly bytes: Uint8Array;
  /** Start of a file. */
  readonly start: number;
}

/** What held when the journal was `at` long. */
interface Mark {
  readonly at: number;
  /** All the log ever held, from `start`, expired bytes included. */
  readonly start: number;
  readonly bytes: Uint8Array;
  readonly min: number;
  /** All below was promised to be on the disk. */
  readonly stored: number;
}

/** A store on a simulated machine, recorded. */
export class PointTrace {
  readonly options: MessageStoreOptions;
  /** The logs that the store copies, one after another; none for a store that takes puts. */
  readonly sources: readonly Source[];
  readonly journal = new CrashJournal();
  readonly marks: Mark[] = [];
  readonly #world: SimulatedWorld;
  readonly #host: SimulatedHost;
  #store: MessageStore | null = null;
  #history: Uint8Array = new Uint8Array(0);
  #start: number;
  #stored = 0;
  #texts = 0;

  /** `clockMs` sets the machine's clock, ms from the usual. */
  constructor(options: Partial<MessageStoreOptions> = {}, sources: readonly Source[] = [], clockMs = 0) {
    this.options = { ...SMALL, storePathRootDir: ROOT, ...options };
    this.sources = sources;
    this.#start = sources[0]?.start ?? 0;
    this.#world = new SimulatedWorld(1, {
      timerJitterMaxUs: 10,
      disk: SLOW_SYNC,
      wallStartMs: WALL_START_MS + clockMs,
    });
    this.#host = this.#world.host("a");
    this.#mark();
  }

  get store(): MessageStore {
    return this.#store!;
  }

  /** The whole log so far. */
  get history(): Uint8Array {
    return this.#history;
  }

  async open(): Promise<void> {
    const store = await this.#world.drive(openStore(this.#host, this.options, this.journal), DEADLINE_MS);
    this.#store = store;
    store.onGrow(() => this.#onGrow());
    store.start();
    if (this.sources.length === 0) await this.#world.drive(store.setRole("master"), DEADLINE_MS);
    this.#mark();
  }

  /** From now on the store takes puts. */
  async becomeMaster(): Promise<void> {
    await this.#world.drive(this.store.setRole("master"), DEADLINE_MS);
  }

  /** What is flushed is promised; what is written may survive. */
  #onGrow(): void {
    const { maxOffset, flushedOffset } = this.store;
    this.#stored = Math.max(this.#stored, flushedOffset);
    this.#learn(maxOffset);
    this.#mark();
  }

  #learn(end: number): void {
    const known = this.#start + this.#history.length;
    if (end < known) this.#history = this.#history.slice(0, Math.max(0, end - this.#start));
    else if (end > known) this.#history = concat(this.#history, logBytes(this.#host, known, end));
  }

  #mark(): void {
    const min = this.#store?.minOffset ?? 0;
    this.marks.push({
      at: this.journal.length,
      start: this.#start,
      bytes: this.#history,
      min,
      stored: this.#stored,
    });
  }

  /** Puts messages to three queues. */
  put(count: number, bodySize = 20): void {
    for (let i = 0; i < count; i++) {
      const text = `m${this.#texts++}`;
      const queueId = this.#texts % 2;
      const topic = this.#texts % 5 === 0 ? "Other" : "TopicTest";
      const result = this.store.appendMessage(
        message(text, { topic, queueId, body: utf8.encode(text.padEnd(bodySize, "x")) }),
      );
      assert.equal(result.status, PutMessageStatus.PUT_OK);
      this.#mark();
    }
  }

  /** A client's batch. */
  putBatch(count: number, bodySize = 40): void {
    const parts: number[] = [];
    for (let i = 0; i < count; i++) {
      const part = new Uint8Array(22 + bodySize);
      writeInt32(part, 0, part.length);
      writeInt32(part, 16, bodySize);
      part.set(utf8.encode(`b${this.#texts++}`.padEnd(bodySize, "y")), 20);
      parts.push(...part);
    }
    const shared = message("batch", { topic: "Batch", properties: new Map([["TAGS", "TagB"]]) });
    assert.equal(
      this.store.appendBatch({ message: shared, batchBody: Uint8Array.from(parts) }).status,
      PutMessageStatus.PUT_OK,
    );
    this.#mark();
  }

  /** Copies bytes of a master's log, in pieces of this size. */
  copy({ bytes, start }: Source, size: number, pieceSize = 700): void {
    for (let left = size; left > 0; left -= pieceSize) {
      const from = Math.max(start, this.store.replicaWriteOffset);
      const piece = bytes.subarray(from - start, from - start + Math.min(left, pieceSize));
      assert.equal(this.store.appendReplica(from, piece).type, "appended");
      this.#mark();
    }
  }

  async waitStored(): Promise<void> {
    const { maxOffset } = this.store;
    assert.ok(await this.#world.drive(this.store.waitStored(maxOffset, 5000), DEADLINE_MS));
    this.#stored = Math.max(this.#stored, maxOffset);
    this.#mark();
  }

  async advance(durationMs: number): Promise<void> {
    await this.#world.advance(durationMs);
    this.#mark();
  }

  /** A round of expiry. */
  async expire(): Promise<void> {
    await this.#world.drive(this.store.cleanExpired(), DEADLINE_MS);
    this.#mark();
  }

  /** `--resync`: what begins at `from`, or all of the log, is set aside. */
  async setAside(from: number | null): Promise<void> {
    this.store.discardPartial();
    this.#stored = Math.min(this.#stored, from ?? 0);
    await this.#world.drive(from === null ? this.store.setLogAside() : this.store.setTailAside(from), DEADLINE_MS);
    this.#learn(from ?? this.#start);
    this.#stored = this.store.flushedOffset;
    this.#mark();
  }

  /** A clean stop. */
  async shutdown(): Promise<void> {
    const { maxOffset } = this.store;
    await this.#world.drive(this.store.shutdown(), DEADLINE_MS);
    this.#store = null;
    this.#stored = maxOffset;
    this.#mark();
  }
}

/** What was tried. */
export interface PointCounts {
  /** Points at which the power went: every write and sync boundary. */
  readonly points: number;
  /** Losses of all points. */
  readonly losses: number;
  /** Different disks among them, each of which was recovered. */
  readonly disks: number;
  /** Disks at losses of power during recovery. */
  readonly recoveries: number;
}

/** How far to go. */
export interface PointBounds {
  /** Unsynced changes of which all subsets are lost. */
  readonly subsetsOf: number;
  /** As {@link subsetsOf}, during recovery. */
  readonly recoverySubsetsOf: number;
  /** Of so many disks one is recovered with a loss of power at every point of that. */
  readonly recoveryEvery: number;
}

/** A disk that is left by losses of power at these points; the first of them is told. */
export interface LeftDisk {
  readonly points: readonly number[];
  readonly image: () => DiskImage;
  /** What was lost, for people. */
  readonly story: string;
}

/** All different disks that losses of power at `from` and later leave of a program that is over. */
export function leftDisks(
  journal: CrashJournal,
  subsetsOf: number,
  from = 0,
): { disks: LeftDisk[]; points: number; losses: number } {
  const disks = new Map<string, LeftDisk & { readonly points: number[] }>();
  let losses = 0;
  for (let point = from; point <= journal.length; point++) {
    for (const loss of journal.lossesAt(point, subsetsOf)) {
      losses++;
      const image = () => journal.imageAt(point, loss);
      const digest = digestOf(image());
      const same = disks.get(digest);
      if (same === undefined) disks.set(digest, { points: [point], image, story: tell(point, loss) });
      else if (same.points.at(-1) !== point) same.points.push(point);
    }
  }
  return { disks: [...disks.values()], points: journal.length - from + 1, losses };
}

function tell(point: number, { lost, torn }: Loss): string {
  const what = `${[...lost].join(", ")}${torn === null ? "" : `, torn ${torn.index}`}`;
  return `The power went at entry ${point} of the journal and took ${what || "nothing"}`;
}

/** Tries every loss of power on the way of a trace that is over. */
export async function tryEveryPoint(trace: PointTrace, bounds: PointBounds): Promise<PointCounts> {
  const { disks, points, losses } = leftDisks(trace.journal, bounds.subsetsOf);
  let recoveries = 0;
  for (const [i, disk] of disks.entries()) {
    const recoverySubsetsOf = i % bounds.recoveryEvery === 0 ? bounds.recoverySubsetsOf : null;
    try {
      recoveries += await tryDisk(trace, disk.image(), disk.points, recoverySubsetsOf);
    } catch (error) {
      throw new Error(disk.story, { cause: error });
    }
  }
  return { points, losses, disks: disks.length, recoveries };
}

/** Recovers one disk and checks it for all points at which it may be what is left. Returns recoveries tried. */
async function tryDisk(
  trace: PointTrace,
  image: DiskImage,
  points: readonly number[],
  recoverySubsetsOf: number | null,
): Promise<number> {
  const first = new Machine(image, 1);
  await first.open(trace.options);
  const { minOffset, maxOffset } = first.store;
  for (const point of points) checkPromises(trace, point, first);
  const recovered = logOf(first.image());
  const kept = piecesAside(first.image());
  first.restart();
  await first.open(trace.options);
  assert.deepEqual([first.store.minOffset, first.store.maxOffset], [minOffset, maxOffset], "recovered twice");
  assertSame(logOf(first.image()), recovered, "recovered twice");
  await first.start(trace.sources.length === 0);
  const recoveries = recoverySubsetsOf === null
    ? 0
    : await tryRecovery(trace, image, { minOffset, maxOffset, recovered, kept }, recoverySubsetsOf);
  await goOn(trace, first);
  await first.shutdown();
  await checkAtRest(first, trace.options);
  return recoveries;
}

/** What recovery must come to. */
interface Recovered {
  readonly minOffset: number;
  readonly maxOffset: number;
  readonly recovered: ReadonlyMap<string, Uint8Array>;
  /** What was cut and must be kept, also when the power goes in between: in one piece or the other. */
  readonly kept: readonly Uint8Array[];
}

/** The power goes again, at every point of opening and starting the store. */
async function tryRecovery(
  trace: PointTrace,
  image: DiskImage,
  wanted: Recovered,
  subsetsOf: number,
): Promise<number> {
  const machine = new Machine(image, 1);
  const journal = await machine.open(trace.options);
  await machine.start(trace.sources.length === 0);
  const seen = new Set<string>();
  for (let point = 0; point <= journal.length; point++) {
    for (const loss of journal.lossesAt(point, subsetsOf)) {
      const next = journal.imageAt(point, loss);
      const digest = digestOf(next);
      if (seen.has(digest)) continue;
      seen.add(digest);
      const again = new Machine(next, 2);
      await again.open(trace.options);
      const { minOffset, maxOffset } = again.store;
      const where = `after a loss of power at entry ${point} of recovery's journal`;
      assert.deepEqual([minOffset, maxOffset], [wanted.minOffset, wanted.maxOffset], where);
      assertSame(logOf(again.image()), wanted.recovered, where);
      const kept = piecesAside(again.image());
      const lost = wanted.kept.filter((piece) => !kept.some((other) => Buffer.compare(piece, other) === 0));
      assert.equal(lost.length, 0, `${lost.length} pieces of the log that were cut are nowhere, ${where}`);
      await again.start(trace.sources.length === 0);
      await again.shutdown();
      await checkAtRest(again, trace.options);
    }
  }
  return seen.size;
}

/**
 * Bit rot: a byte of the log, at `offset`, is another when a killed store starts again, and the power goes at every point
 * of that recovery. Returns recoveries tried; `kept` is how many pieces are kept of what is cut.
 */
export async function tryBitRot(
  trace: PointTrace,
  offset: number,
  subsetsOf: number,
): Promise<{ readonly recoveries: number; readonly kept: number }> {
  const image = trace.journal.imageAt(trace.journal.length, { lost: new Set(), torn: null });
  const path = `${ROOT}/commitlog/${String(offset - offset % FILE_SIZE).padStart(20, "0")}`;
  image.files.get(path)![offset % FILE_SIZE]! ^= 0x10;
  const machine = new Machine(image, 1);
  await machine.open(trace.options);
  const { minOffset, maxOffset } = machine.store;
  const recovered = logOf(machine.image());
  const kept = piecesAside(machine.image());
  const wanted = { minOffset, maxOffset, recovered, kept };
  return { recoveries: await tryRecovery(trace, image, wanted, subsetsOf), kept: kept.length };
}

/** What was promised at this point is there, and all that is there was written. */
function checkPromises(trace: PointTrace, point: number, machine: Machine): void {
  const last = trace.marks.findLastIndex((mark) => mark.at <= point);
  const marks = trace.marks.slice(last, last + 2);
  const { minOffset, maxOffset } = machine.store;
  const stored = Math.min(...marks.map((mark) => mark.stored));
  assert.ok(maxOffset >= stored, `log ends at ${maxOffset}, ${stored} was promised at entry ${point}`);
  const minMax = Math.max(...marks.map((mark) => mark.min));
  assert.ok(minOffset <= minMax, `log begins at ${minOffset}, not after ${minMax} at entry ${point}`);
  if (minOffset === maxOffset && stored === 0) return;
  const bytes = logBytes(machine.host, minOffset, maxOffset);
  const isPiece = marks.some((mark) => {
    if (minOffset < mark.start || maxOffset > mark.start + mark.bytes.length) return false;
    return Buffer.compare(bytes, mark.bytes.subarray(minOffset - mark.start, maxOffset - mark.start)) === 0;
  });
  assert.ok(isPiece, `log from ${minOffset} to ${maxOffset} is no piece of what was written at entry ${point}`);
}

/** The next put to every queue gets the next queue offset; or the rest of a master's log is taken. */
async function goOn(trace: PointTrace, machine: Machine): Promise<void> {
  const { store } = machine;
  if (trace.sources.length > 0) {
    const { bytes, start } = trace.sources.findLast((source) => isPieceOf(machine, source))!;
    const from = Math.max(start, store.replicaWriteOffset);
    assert.equal(store.appendReplica(from, bytes.subarray(from - start)).type, "appended");
    assert.equal(store.maxOffset, start + bytes.length);
  } else {
    const { bytes, start } = trace.marks.at(-1)!;
    const history = bytes.subarray(0, store.maxOffset - start);
    const next = nextQueueOffsets(deriveRecords(history, start, FILE_SIZE));
    for (const queue of ["TopicTest/0", "TopicTest/1", "Other/0", "Batch/0"]) {
      const [topic, queueId] = queue.split("/");
      const result = store.appendMessage(message(`next ${queue}`, { topic: topic!, queueId: Number(queueId) }));
      assertPut(result, next.get(queue) ?? 0, queue);
    }
  }
  await machine.drive(store.waitFlushed(store.maxOffset));
}

function isPieceOf({ host, store: { minOffset, maxOffset } }: Machine, { bytes, start }: Source): boolean {
  const from = Math.max(start, minOffset);
  if (from >= maxOffset) return true;
  return Buffer.compare(logBytes(host, from, maxOffset), bytes.subarray(from - start, maxOffset - start)) === 0;
}

function assertPut(result: AppendMessageResult, queueOffset: number, queue: string): void {
  assert.ok(result.status === PutMessageStatus.PUT_OK, result.status);
  assert.equal(result.logicsOffset, queueOffset, `queue offset of the next message of ${queue}`);
}

/** Queues and index of a store that was stopped in order are what the log says, by verify and by hand. */
async function checkAtRest(machine: Machine, options: MessageStoreOptions): Promise<void> {
  const { maxHashSlotNum, maxIndexNum } = options;
  const { fs } = machine.host.runtime;
  const verified = await machine.drive(verifyStore(fs, ROOT, { maxHashSlotNum, maxIndexNum }));
  assert.deepEqual([verified.finding, verified.notes, verified.notDispatched], [null, [], 0]);
  const log = logBytes(machine.host, verified.minOffset, verified.maxOffset);
  const records = deriveRecords(log, verified.minOffset, FILE_SIZE);
  const files = new Map([...machine.image().files].map(([path, bytes]) => [path.slice(ROOT.length), bytes]));
  checkDerived(files, records, verified.minOffset, options);
}

/** A new machine with a given disk. */
class Machine {
  readonly host: SimulatedHost;
  readonly #world: SimulatedWorld;
  #store: MessageStore | null = null;

  /** `life` counts the machines that had this disk, so that no two programs are taken for the same. */
  constructor(image: DiskImage, life: number) {
    this.#world = new SimulatedWorld(1, { timerJitterMaxUs: 10, wallStartMs: WALL_START_MS + life * HOUR_MS });
    this.host = this.#world.host("a");
    loadImage(this.host.runtime.fs, image);
    for (let i = 0; i < life; i++) this.restart();
  }

  get store(): MessageStore {
    return this.#store!;
  }

  restart(): void {
    this.host.kill();
    this.host.restart();
    this.#store = null;
  }

  /** Opens the store; the journal holds what recovery did, and all that comes after. */
  async open(options: MessageStoreOptions): Promise<CrashJournal> {
    const journal = new CrashJournal(this.image());
    this.#store = await this.drive(openStore(this.host, options, journal));
    return journal;
  }

  /** Starts the store and lets it come to rest. */
  async start(isMaster: boolean): Promise<void> {
    this.store.start();
    if (isMaster) await this.drive(this.store.setRole("master"));
    await this.drive(this.store.waitDispatched());
    await this.#world.advance(REST_MS);
  }

  async shutdown(): Promise<void> {
    await this.drive(this.store.waitDispatched());
    await this.drive(this.store.shutdown());
  }

  async drive<T>(work: Promise<T>): Promise<T> {
    return await this.#world.drive(work, DEADLINE_MS);
  }

  image(): DiskImage {
    return imageOf(this.host);
  }
}

function openStore(host: SimulatedHost, options: MessageStoreOptions, journal: CrashJournal): Promise<MessageStore> {
  const { fs, clock, process } = host.runtime;
  const onFatal = (error: unknown) => {
    throw error;
  };
  return MessageStore.open(options, { fs: journal.record(fs), clock, process, onFatal });
}

/** All a disk holds. */
export function imageOf({ disk, runtime: { fs } }: SimulatedHost): DiskImage {
  const directories: string[] = [];
  const walk = (path: string) => {
    for (const name of fs.list(path === "" ? "/" : path)) {
      if (fs.stat(`${path}/${name}`)?.isDirectory !== true) continue;
      directories.push(`${path}/${name}`);
      walk(`${path}/${name}`);
    }
  };
  walk("");
  return { directories, files: new Map(disk.files().map((path) => [path, disk.peek(path)])) };
}

/** What stands beside the log. */
function piecesAside({ files }: DiskImage): Uint8Array[] {
  return [...files].filter(([path]) => path.startsWith(`${ROOT}/commitlog.aside/`)).map(([, bytes]) => bytes);
}

/** The files of the log. */
function logOf({ files }: DiskImage): Map<string, Uint8Array> {
  return new Map([...files].filter(([path]) => path.startsWith(`${ROOT}/commitlog/`)));
}

function assertSame(a: ReadonlyMap<string, Uint8Array>, b: ReadonlyMap<string, Uint8Array>, why: string): void {
  assert.deepEqual([...a.keys()], [...b.keys()], why);
  for (const [path, bytes] of a) assert.equal(Buffer.compare(bytes, b.get(path)!), 0, `${path}, ${why}`);
}

function logBytes({ disk }: SimulatedHost, from: number, end: number): Uint8Array {
  let bytes = new Uint8Array(0);
  for (let at = from; at < end;) {
    const fileStart = at - at % FILE_SIZE;
    const path = `${ROOT}/commitlog/${String(fileStart).padStart(20, "0")}`;
    const part = disk.peek(path, at - fileStart, Math.min(end, fileStart + FILE_SIZE) - at);
    bytes = concat(bytes, part);
    at += part.length;
  }
  return bytes;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
