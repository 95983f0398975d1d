// What replication needs from a log, and nothing more. The store's MessageStore implements it; tests use a small
// in-memory one. Offsets are bytes in the commit log's address space, always ends or starts of whole records unless
// said otherwise.

/** Why a slave refused bytes of its master. Each stops replication until an operator decides. */
export type ReplicaRejectReason =
  /** A size, magic, or field that can't be a record. */
  | "badRecord"
  /** The record's physical offset is not where it stands. */
  | "badPhysicalOffset"
  /** The body CRC, or the whole record's `__CRC32#`, does not match. */
  | "badCrc"
  /** A record crosses, or a BLANK does not end on, a file boundary: the two sides' file sizes differ. */
  | "fileSizeMismatch";

/** What became of bytes handed to {@link ReplicaLog.appendReplica}. */
export type ReplicaAppendResult =
  /** Taken. Whole records are written and count in `maxOffset`; a started record is held until its rest comes. */
  | { readonly type: "appended" }
  /** Bytes before `offset` are written; the record at `offset` is not, nor anything after it. */
  | {
    readonly type: "rejected";
    readonly reason: ReplicaRejectReason;
    readonly offset: number;
    readonly detail: string;
  };

/** The log as replication sees it. */
export interface ReplicaLog {
  /** First byte held; 0 for an empty log. */
  readonly minOffset: number;
  /** End of the last whole, written record: what may be sent, acknowledged and requested. */
  readonly maxOffset: number;
  /** End of what is known to be on the disk. */
  readonly flushedOffset: number;
  /** Size of each file of the log, bytes. */
  readonly mappedFileSize: number;
  /** Start of the last whole record that is not a BLANK; -1 when the log holds none. */
  readonly lastRecordOffset: number;
  /**
   * Copies bytes from `offset` (`minOffset <= offset < maxOffset`) into `target`, up to `maxOffset` or the end of the
   * file that holds it, whichever comes first; returns the count. A number at once for bytes near the end of the log,
   * a promise where they may have to come from the disk. 0 when the offset is not held.
   */
  read(offset: number, target: Uint8Array): number | Promise<number>;
  /**
   * Where the slave's log goes on: `maxOffset` plus the bytes held of a record that is not whole yet. The next
   * `appendReplica` must start here.
   */
  readonly replicaWriteOffset: number;
  /**
   * Takes bytes from the master at `physicOffset` (= `replicaWriteOffset`; an empty log takes the start of any file and
   * begins there, anything else is `badPhysicalOffset`: a gap at the log's start would not survive recovery). Checks each
   * record before it is written; only whole records reach the file. Throws {@link IoError} when the disk fails;
   * `maxOffset` then still is the end of the last whole, written record.
   */
  appendReplica(physicOffset: number, bytes: Uint8Array): ReplicaAppendResult;
  /** Forgets the bytes held of an unfinished record (the connection they came over is gone). */
  discardPartial(): void;
  /** Resolves once `flushedOffset >= offset`, asking for a flush when needed. */
  waitFlushed(offset: number): Promise<void>;
  /** Calls back, synchronously, after each growth of `maxOffset` or `flushedOffset`. Returns the unsubscriber. */
  onGrow(listener: () => void): () => void;
  /**
   * `--resync`: copies `[fromOffset, maxOffset)` into a file beside the store (its path is returned), then cuts the log
   * at `fromOffset`: bytes from the cut to the end of the file are zeroed and synced, later files removed, consume
   * queues and index cut alike. All that takes time comes before the cut; `mayCut` is asked right before it, and when it
   * says no nothing is cut: throws {@link IoError} `closed`.
   */
  setTailAside(fromOffset: number, mayCut?: () => boolean): Promise<string>;
  /** `--resync` after a hole: moves the whole log aside (the path is returned) and leaves it empty. `mayCut` as above. */
  setLogAside(mayCut?: () => boolean): Promise<string>;
}
