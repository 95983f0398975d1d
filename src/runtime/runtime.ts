// The seam between the engine and the machine. Everything above src/runtime/ talks to these interfaces only, so one
// engine runs on Deno, Bun, Node and the simulator. What each method promises is written here and proven, for every
// adapter, by tests/conformance/. No protocol knowledge and no policy lives below this line.

/** A TCP endpoint as seen by an adapter. `hostname` is a numeric address; `port` is 0..65535. */
export interface NetAddress {
  readonly hostname: string;
  readonly port: number;
}

/**
 * One TCP connection, pulled by its owner. TCP_NODELAY is on. Half-open connections are kept: the end of the peer's
 * stream does not close our own direction. Over TLS two promises are weaker: {@link shutdownWrite} may end both
 * directions, and what was written right before {@link close} may be lost.
 */
export interface Connection {
  readonly localAddress: NetAddress;
  readonly remoteAddress: NetAddress;
  /**
   * The next bytes (at least one), or `null` at the end of the stream. One read at a time. The returned view is lent:
   * it stays valid, and may be written to, until the next `read` call; then it may hold other bytes, or none. Unread bytes
   * are left in the kernel beyond a bounded buffer (at most 1 MiB held by the adapter), so a reader that stops reading
   * stops the peer. Throws {@link IoError} `reset`, `closed` (we closed it) or `other`.
   */
  read(): Promise<Uint8Array | null>;
  /**
   * Resolves once every byte was accepted by the kernel (not: by the peer). One write at a time, a second call throws;
   * the buffer is lent to the adapter until then. An adapter never holds a copy of more than 1 MiB of it. Throws
   * {@link IoError} `reset`, `closed` or `other`.
   */
  write(bytes: Uint8Array): Promise<void>;
  /** Ends our direction (FIN) after what was written; reading goes on. */
  shutdownWrite(): Promise<void>;
  /** Closes both directions and fails a pending read or write with `closed`. Idempotent. */
  close(): void;
  /** Resolves once the connection is closed, by either side or by an error, and its resources are released. */
  readonly closed: Promise<void>;
}

/** A bound, listening socket. */
export interface Listener {
  /** The bound address; the real port when 0 was asked for. */
  readonly address: NetAddress;
  /** The next connection, or `null` once closed. Connections that arrive meanwhile wait in a bounded queue. */
  accept(): Promise<Connection | null>;
  /** Stops listening and closes connections nobody accepted; the port is free a turn later. Idempotent. */
  close(): void;
}

/** One end of a TLS connection in which both ends show a certificate. Each is PEM text. */
export interface TlsIdentity {
  /** This end's certificate, followed by intermediate ones if there are any. */
  readonly cert: string;
  readonly key: string;
  /** Who the other end's certificate has to come from. It is all that is asked: no name is compared. */
  readonly ca: string;
}

/** What a TLS client shows, and whom it trusts. All PEM text; {@link TlsIdentity} is one. */
export interface TlsClientOptions {
  /** null: no certificate, and no key. */
  readonly cert: string | null;
  readonly key: string | null;
  /** Who the server's certificate has to come from; null: any is trusted, so the peer is not known, only the bytes hidden. */
  readonly ca: string | null;
}

/** What a {@link TlsServer} shows, and whom it takes. All PEM text. */
export interface TlsServerOptions {
  readonly cert: string;
  readonly key: string;
  /** Who a client's certificate has to come from; null: clients are not asked for one. */
  readonly ca: string | null;
  /** `optional`: a client may come without a certificate, but not with one of another CA. */
  readonly clientAuth: "none" | "optional" | "require";
}

/** Secures connections that came in plain, once the first bytes of their peer show TLS (1.2 or later). */
export interface TlsServer {
  /**
   * Takes `connection` over, of which `firstBytes` were read already. Rejects with {@link IoError} `other`, its message
   * one line of ours, when the handshake fails; the connection is closed then. Of more than 256 handshakes at once the
   * first of the address with most of them is refused.
   */
  secure(connection: Connection, firstBytes: Uint8Array): Promise<Connection>;
}

/** TLS 1.2 or later on a listener: `accept` gives only peers whose certificate comes from the CA. */
export interface TlsListenOptions {
  readonly identity: TlsIdentity;
  /** Asked before a peer costs a handshake; false closes it without a word. */
  readonly admits: (remote: NetAddress) => boolean;
  /** A peer got no further than the handshake: why, in one line of ours. */
  readonly onRefused: (remote: NetAddress, detail: string) => void;
}

/** What {@link Net.listen} takes. */
export interface ListenOptions {
  readonly hostname: string;
  readonly port: number;
  readonly tls?: TlsListenOptions;
}

/** What {@link Net.connect} takes. */
export interface ConnectOptions {
  readonly hostname: string;
  readonly port: number;
  /** For everything up to the connection, a TLS handshake included. */
  readonly timeoutMs: number;
  readonly tls?: TlsClientOptions;
}

/** TCP, and TLS over it. */
export interface Net {
  /**
   * Binds and listens. Port 0 lets the system choose. Throws {@link IoError} `inUse`, `permission`, `noAddress` (a name
   * that does not resolve, an address that is not this host's), `other`, and
   * {@link ConfigError} for an identity that can't be used.
   */
  listen(options: ListenOptions): Promise<Listener>;
  /**
   * Connects. Throws {@link IoError} `refused`, `timeout` (after `timeoutMs`), `other` (also for a name that does not
   * resolve, and for a TLS handshake that fails). Under TLS 1.3 a peer that refuses our certificate says so only later:
   * the first `read` fails or ends.
   */
  connect(options: ConnectOptions): Promise<Connection>;
  /** The server's side of TLS for ports that take plain connections too. Throws {@link ConfigError} as {@link listen}. */
  tlsServer(options: TlsServerOptions): Promise<TlsServer>;
}

/** An open file. Access is positional: there is no cursor. Offsets and sizes are bytes. */
export interface FileHandle {
  readonly path: string;
  /** Reads into `target` from `offset`; returns the count, less than asked only at the end of the file. Blocks. */
  readAt(target: Uint8Array, offset: number): number;
  /** As {@link readAt}, off the event loop: for ranges that may have to come from the disk. */
  readAtAsync(target: Uint8Array, offset: number): Promise<number>;
  /**
   * Fills `target` from `offset` if the file is mapped into memory and the page cache holds all of that: the cheapest way to
   * read (Linux, on Deno and Bun, a file that is read repeatedly; see `FileMapping`). False, and `target` as it was, where
   * it is not, or the file ends before.
   */
  readMappedAt?(target: Uint8Array, offset: number): boolean;
  /**
   * Fills `target` from `offset` if the page cache holds all of it, without waiting for the disk. False, and what is in
   * `target` worth nothing, where it doesn't, the file ends before, or the read fails. {@link readMappedAt} where the file is
   * mapped; elsewhere it may wait now and then, for about a twentieth of the time, and then says no for a while, see
   * `QuickReads`. Unset where nothing blocks.
   */
  readCachedAt?(target: Uint8Array, offset: number): boolean;
  /**
   * Writes all of `bytes` at `offset`, growing the file when needed. When it throws (`noSpace`, `other` for EIO) any
   * part of the range may have been written. Blocks: a record is about a microsecond.
   */
  writeAt(bytes: Uint8Array, offset: number): void;
  /** Makes what was written before this call durable (fdatasync). Throws {@link IoError}; then assume nothing. */
  sync(): Promise<void>;
  /** {@link sync}, blocking. For recovery and shutdown. */
  syncBlocking(): void;
  /** Sets the size; new bytes read as zero (sparse). */
  truncate(size: number): void;
  /** Current size in bytes. */
  size(): number;
  /**
   * From where on, at or behind `offset`, the file is known to be a hole, which reads as zeros; its size when only reading
   * could tell. Every byte before `offset` must have been written.
   */
  holeFrom(offset: number): number;
  /**
   * A hint that `length` bytes from `offset`, within the file, will be written soon and in large pieces: the file system
   * may find their place on the disk beforehand. What the file holds and its size stay as they are. Throws only when closed.
   */
  reserve(offset: number, length: number): void;
  /** Closes it. Idempotent. */
  close(): void;
}

/** What `stat` tells. */
export interface FileInfo {
  readonly size: number;
  /** Bytes of disk that its content takes, less than `size` where it has holes. A hint: file systems pack, and reserve. */
  readonly allocated: number;
  readonly isDirectory: boolean;
  /** Last modification, Unix ms. */
  readonly modifiedMs: number;
}

/** Capacity of the file system that holds a path, in bytes. */
export interface DiskUsage {
  readonly totalBytes: number;
  readonly usedBytes: number;
  /** What can still be written: less than the rest where the file system keeps some for root. */
  readonly freeBytes: number;
}

/** Files. All methods but the `Async`/promise ones block; all throw {@link IoError}. Paths use `/`. */
export interface FileSystem {
  /** Opens for reading and, unless mode is `read`, writing. `create` makes the file when missing, `write` does not. */
  open(path: string, mode: "read" | "write" | "create"): FileHandle;
  /** `null` when nothing is there. */
  stat(path: string): FileInfo | null;
  /** Names (not paths) in a directory, sorted; empty when the directory is missing. */
  list(path: string): string[];
  /** Makes the directory and its parents. No error when it exists; one when a file is in the way, or nothing can be made. */
  makeDirectory(path: string): void;
  /** Removes a file, or a directory with what is in it. No error when missing. */
  remove(path: string): void;
  /** Moves within one file system, replacing the target file. */
  rename(from: string, to: string): void;
  /** Whole content, `null` when missing. For small files. */
  readFile(path: string): Uint8Array | null;
  /** Creates or replaces; not durable until {@link FileHandle.sync} or {@link syncDirectory}. For small files. */
  writeFile(path: string, bytes: Uint8Array): void;
  /**
   * Makes a file with this content, unless something is there: of several callers, in any process, exactly one gets
   * true, and nobody ever sees the file without its content. Not durable. For small files.
   */
  createExclusive(path: string, bytes: Uint8Array): boolean;
  /** Makes creations, renames and removals inside this directory durable. */
  syncDirectory(path: string): void;
  /** {@link syncDirectory}, off the event loop: of many at the same time, the disk is asked less often. */
  syncDirectoryAsync(path: string): Promise<void>;
  diskUsage(path: string): DiskUsage;
  /**
   * Pid of a live process, other than this one, that holds a POSIX lock on the file (a Java broker's FileLock), or
   * `null`: unlocked, or the platform can't tell.
   */
  lockedBy(path: string): number | null;
}

/** A running timer. */
export interface Timer {
  /** Idempotent; after it the callback does not run. */
  cancel(): void;
}

/** Time. Integers only. */
export interface Clock {
  /** Wall clock, Unix ms. May step. For what is stored or shown. */
  now(): number;
  /** Milliseconds since an arbitrary start, never going back, with a fraction on real machines. For durations. */
  monotonic(): number;
  /** Runs `callback` once after `delayMs` (at least; 0 means soon, never synchronously). Keeps the process alive. */
  setTimer(delayMs: number, callback: () => void): Timer;
  /**
   * Runs `callback` after the event loop looked once for what has arrived, without sleeping meanwhile. Unset where that
   * brings nothing: Deno's loop looks at its sockets every sixtieth time only, and simulated time does not pass by turns.
   */
  readonly nextTurn?: (callback: () => void) => void;
}

/** Randomness. */
export interface Random {
  /** An integer in `[0, bound)`; `1 <= bound <= 2^32`. */
  nextInt(bound: number): number;
  /** Cryptographically strong on real machines. */
  bytes(count: number): Uint8Array;
}

/** A handler in the fetch style, as Hono's `app.fetch`. */
export type HttpHandler = (request: Request) => Response | Promise<Response>;

/** Who may hold a connection of an HTTP server, and how many of them. */
export interface HttpGate {
  /** Asked of each connection before it is read; false closes it. */
  readonly admits: (remote: NetAddress) => boolean;
  /** An admitted connection is closed. */
  readonly onClosed: (remote: NetAddress) => void;
  /** Time a peer has for a request's head, ms, and as long between two; six times that for all of a request. */
  readonly headTimeMs: number;
}

/** What {@link Runtime.serveHttp} takes. */
export interface HttpOptions {
  readonly hostname: string;
  readonly port: number;
  /** For ports that strangers reach. Without it the runtime's own server starts faster and keeps its own limits. */
  readonly gate?: HttpGate;
}

/** A running HTTP server. */
export interface HttpServer {
  readonly address: NetAddress;
  /** Stops accepting, ends open responses (event streams too) and releases the port. */
  close(): Promise<void>;
}

/** The operating system's view of this process. */
export interface Process {
  readonly pid: number;
  readonly hostname: string;
  /** IPv4 address that other hosts can reach this one by, else `127.0.0.1`. */
  readonly localAddress: string;
  env(name: string): string | undefined;
  /** A token that differs for another process with the same pid (its start time), `null` when no such process lives. */
  startToken(pid: number): string | null;
  /**
   * Calls back on SIGINT, SIGTERM and SIGHUP (a terminal was closed; not where it is ignored already, as under `nohup`)
   * until the returned function is called.
   */
  onStopSignal(callback: (signal: string) => void): () => void;
  /** Total physical memory and this process's resident set, bytes. */
  memory(): { totalBytes: number; residentBytes: number };
  writeOut(text: string): void;
  writeErr(text: string): void;
  /** Standard input as chunks of bytes. */
  stdin(): AsyncIterable<Uint8Array>;
  readonly stdoutIsTerminal: boolean;
  /** Nobody reads standard output any more (`… | head -1`): a write said so, nothing else tells. */
  readonly stdoutIsClosed: boolean;
  exit(code: number): never;
}

/** One machine: an adapter, or a simulated host. */
export interface Runtime {
  readonly name: "deno" | "bun" | "node" | "simulated";
  readonly version: string;
  readonly net: Net;
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly process: Process;
  /** Serves HTTP/1.1. Heads over some 16 KiB (without a gate on Deno: 100 KiB) are refused. Throws {@link IoError} `inUse`. */
  serveHttp(options: HttpOptions, handler: HttpHandler): Promise<HttpServer>;
}
