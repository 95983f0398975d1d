// `verify --against HOST:PORT`: compares a log at rest with a running master's over the HA protocol, as a slave that asks
// for everything and acknowledges nothing. While it runs the master counts it as a connected slave.

import { IoError, ProtocolError } from "../base/errors.ts";
import { SILENT_LOGGER } from "../base/logger.ts";
import { MasterInfoClient } from "../broker/master_info_client.ts";
import { formatHostPort, type HostPort } from "../base/host_port.ts";
import { IS_HA_PORT, REPORT_HEADER_SIZE, writeReport } from "../ha/frames.ts";
import { TransferDecoder } from "../ha/transfer_decoder.ts";
import { RemotingClient } from "../remoting/remoting_client.ts";
import type { Connection, Runtime, Timer, TlsIdentity } from "../runtime/runtime.ts";
import { StoredLog } from "../store/stored_log.ts";

/** A comparison's outcome, whatever it was with. Offsets are bytes of the log, `to` is not included. */
export interface Comparison {
  readonly ok: boolean;
  readonly from: number;
  readonly to: number;
  /** -1 when nothing differs. */
  readonly firstDifference: number;
  /** More to know, as one sentence each. */
  readonly notes: readonly string[];
}

/** The log at rest. */
export interface LogAtRest {
  readonly directory: string;
  readonly mappedFileSize: number;
  readonly minOffset: number;
  readonly maxOffset: number;
  readonly onProgress: (done: number, total: number) => void;
}

const CONNECT_TIMEOUT_MS = 5000;
/** A master writes at least every 5 s; nothing for so long means that it is no master. */
const SILENCE_MAX_MS = 30_000;
/** Longest wait for a word of what may be the HA port instead; a master with nothing to send says so every 5 s. */
const GUESS_MAX_MS = 6000;
/** What may have been given for the HA port, and how far from it that is by default. */
const MISTAKEN_PORTS = [
  { what: "remoting port", toHAPort: 1 },
  { what: "VIP port", toHAPort: 3 },
  { what: "admin port", toHAPort: -1 },
] as const;
/**
 * A master closes a connection that reports nothing for 20 s. Ours tells by the request repeated twice
 * from a second on, so within four of these, that this is no slave to wait for.
 */
const REPORT_INTERVAL_MS = 500;

/**
 * Compares what both hold, with `tls` over an encrypted connection. Throws {@link IoError}, {@link ProtocolError} when the
 * other side is no master.
 */
export async function compareWithMaster(
  runtime: Runtime,
  address: HostPort,
  log: LogAtRest,
  tls: TlsIdentity | null = null,
): Promise<Comparison> {
  // Before the port below is asked: where nothing listens at the given one, that may be an Apache master's HA port, which
  // takes a request for an acknowledgement.
  const connection = await connect(runtime, address, tls);
  try {
    const notes: string[] = [];
    const held = await masterRange(runtime, address);
    if (held === null) {
      notes.push(
        `The master's range could not be learned at port ${address.port - 1}, compared from the log's own first byte`,
      );
    }
    const from = Math.max(log.minOffset, held?.minOffset ?? 0);
    const to = Math.min(log.maxOffset, held?.maxOffset ?? log.maxOffset);
    if (from >= to) {
      return { ok: true, from, to: from, firstDifference: -1, notes: [...notes, "There is no byte that both hold"] };
    }
    // A request of 0 means "the last file" to an Apache master; byte 0 is the top byte of a record's size, and 0.
    const start = Math.max(from, 1);
    const stored = new StoredLog(runtime.fs, [log.directory], log.mappedFileSize);
    let isHAPort = false;
    try {
      const onHeader = () => isHAPort = true;
      return { ...await compareStream(runtime, connection, stored, { from, start, to, log, onHeader }), notes };
    } catch (error) {
      if (isHAPort || !(error instanceof ProtocolError || error instanceof IoError)) throw error;
      const asked = error.message.includes(IS_HA_PORT) ? error.message : `${error.message}; ${IS_HA_PORT}`;
      throw new ProtocolError(await seemingPort(runtime, address, start, tls) ?? asked, { cause: error });
    } finally {
      stored.close();
    }
  } finally {
    connection.close();
  }
}

function connect(runtime: Runtime, address: HostPort, tls: TlsIdentity | null): Promise<Connection> {
  return runtime.net.connect({ ...address, timeoutMs: CONNECT_TIMEOUT_MS, ...(tls === null ? {} : { tls }) });
}

/** What the given port seems to be instead of an HA port, and where that is; null when it can't be told. */
async function seemingPort(
  runtime: Runtime,
  given: HostPort,
  start: number,
  tls: TlsIdentity | null,
): Promise<string | null> {
  const guesses = MISTAKEN_PORTS.map(({ what, toHAPort }) => ({ what, ha: { ...given, port: given.port + toHAPort } }));
  const speak = await Promise.all(guesses.map(({ ha }) => speaksHA(runtime, ha, start, tls)));
  const guess = guesses.find((_, at) => speak[at]);
  if (guess === undefined) return null;
  const ha = formatHostPort(guess.ha);
  return `${formatHostPort(given)} seems to be the ${guess.what}, wanted the HA port, which seems to be ${ha}`;
}

/** Whether a transfer's header comes for a slave's request, which is a few zeros to anything that is no HA port. */
async function speaksHA(
  runtime: Runtime,
  address: HostPort,
  start: number,
  tls: TlsIdentity | null,
): Promise<boolean> {
  if (address.port < 1 || address.port > 65535) return false;
  let connection: Connection | null = null;
  let stopReporting = () => {};
  try {
    connection = await connect(runtime, address, tls);
    stopReporting = keepReporting(runtime, connection, start);
    const decoder = new TransferDecoder();
    do decoder.feed(await readSoon(runtime, connection, GUESS_MAX_MS)); while (decoder.next() === null);
    return true;
  } catch (error) {
    if (error instanceof IoError || error instanceof ProtocolError) return false;
    throw error;
  } finally {
    stopReporting();
    connection?.close();
  }
}

/** What the master holds, asked at its remoting port, by default one below the HA port; `null` when it doesn't say. */
async function masterRange(
  runtime: Runtime,
  address: HostPort,
): Promise<{ minOffset: number; maxOffset: number } | null> {
  const client = new RemotingClient({ net: runtime.net, clock: runtime.clock });
  try {
    const remoting = formatHostPort({ ...address, port: address.port - 1 });
    return await new MasterInfoClient({ client, logger: SILENT_LOGGER }).askMasterRange(remoting);
  } finally {
    client.close();
  }
}

interface StreamParts {
  readonly from: number;
  /** What is asked for. */
  readonly start: number;
  readonly to: number;
  readonly log: LogAtRest;
  /** A header has come: this is an HA port. */
  readonly onHeader: () => void;
}

async function compareStream(
  runtime: Runtime,
  connection: Connection,
  stored: StoredLog,
  { from, start, to, log, onHeader }: StreamParts,
): Promise<Omit<Comparison, "notes">> {
  const stopReporting = keepReporting(runtime, connection, start);
  const decoder = new TransferDecoder();
  const own = new Uint8Array(64 * 1024);
  let next = start;
  try {
    while (next < to) {
      decoder.feed(await readSoon(runtime, connection));
      for (let part = decoder.next(); part !== null; part = decoder.next()) {
        if (part === "header") {
          onHeader();
          if (decoder.physicOffset !== next) {
            throw new ProtocolError(`Master sends from ${decoder.physicOffset}, wanted ${next}`);
          }
          // A heartbeat comes only when there is nothing to send: the master's log ends here, or begins beyond.
          if (decoder.bodySize > 0) continue;
          if (next === start) {
            throw new ProtocolError(`Master has nothing to send from ${start} on, wanted bytes up to ${to}`);
          }
          return { ok: true, from, to: next, firstDifference: -1 };
        }
        const size = Math.min(decoder.chunk.length, to - next);
        const at = await firstDifferent(stored, next, decoder.chunk.subarray(0, size), own);
        if (at >= 0) return { ok: false, from, to, firstDifference: next + at };
        next += decoder.chunk.length;
        log.onProgress(Math.min(next, to) - from, to - from);
      }
    }
    return { ok: true, from, to, firstDifference: -1 };
  } finally {
    stopReporting();
  }
}

/** Position in `theirs` of the first byte that is not the stored one; -1 for none. */
async function firstDifferent(stored: StoredLog, offset: number, theirs: Uint8Array, own: Uint8Array): Promise<number> {
  for (let done = 0; done < theirs.length;) {
    const count = await stored.read(offset + done, own.subarray(0, Math.min(own.length, theirs.length - done)));
    if (count === 0) return done;
    for (let at = 0; at < count; at++) if (own[at] !== theirs[done + at]) return done + at;
    done += count;
  }
  return -1;
}

/** Reports the request at once and again and again, never more: nothing of this is an acknowledgement. */
function keepReporting(runtime: Runtime, connection: Connection, offset: number): () => void {
  const report = new Uint8Array(REPORT_HEADER_SIZE);
  writeReport(report, 0, offset);
  let timer: Timer | null = null;
  const send = () => {
    timer = runtime.clock.setTimer(REPORT_INTERVAL_MS, send);
    // A connection that is gone shows when it is read.
    connection.write(report).catch(() => timer?.cancel());
  };
  send();
  return () => timer?.cancel();
}

async function readSoon(
  runtime: Runtime,
  connection: Connection,
  silenceMaxMs = SILENCE_MAX_MS,
): Promise<Uint8Array> {
  let silent = false;
  const timer = runtime.clock.setTimer(silenceMaxMs, () => {
    silent = true;
    connection.close();
  });
  try {
    const bytes = await connection.read();
    if (bytes === null) throw new ProtocolError("Master closed the connection, its own log output says why");
    return bytes;
  } catch (error) {
    throw silent ? new ProtocolError(`Nothing came for ${silenceMaxMs} ms`) : error;
  } finally {
    timer.cancel();
  }
}
