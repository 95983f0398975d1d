// `verify --against HOST:PORT`: compares a log at rest with a running master's over the HA protocol, as a slave that asks
// for everything and acknowledges nothing. While it runs the master counts it as a connected slave.

import { ProtocolError } from "../base/errors.ts";
import { SILENT_LOGGER } from "../base/logger.ts";
import { MasterInfoClient } from "../broker/master_info_client.ts";
import { formatHostPort, type HostPort } from "../base/host_port.ts";
import { REPORT_HEADER_SIZE, writeReport } from "../ha/frames.ts";
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

  const stored = new StoredLog(runtime.fs, [log.directory], log.mappedFileSize);
  const secured = tls === null ? {} : { tls };
  const connection = await runtime.net.connect({ ...address, timeoutMs: CONNECT_TIMEOUT_MS, ...secured });
  try {
    return { ...await compareStream(runtime, connection, stored, { from, to, log }), notes };
  } finally {
    connection.close();
    stored.close();
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

async function compareStream(
  runtime: Runtime,
  connection: Connection,
  stored: StoredLog,
  { from, to, log }: { readonly from: number; readonly to: number; readonly log: LogAtRest },
): Promise<Omit<Comparison, "notes">> {
  // A request of 0 means "the last file" to an Apache master; byte 0 is the top byte of a record's size, and 0.
  const start = Math.max(from, 1);
  const stopReporting = keepReporting(runtime, connection, start);
  const decoder = new TransferDecoder();
  const own = new Uint8Array(64 * 1024);
  let next = start;
  try {
    while (next < to) {
      decoder.feed(await readSoon(runtime, connection));
      for (let part = decoder.next(); part !== null; part = decoder.next()) {
        if (part === "header") {
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

async function readSoon(runtime: Runtime, connection: Connection): Promise<Uint8Array> {
  let silent = false;
  const timer = runtime.clock.setTimer(SILENCE_MAX_MS, () => {
    silent = true;
    connection.close();
  });
  try {
    const bytes = await connection.read();
    if (bytes === null) throw new ProtocolError("Master closed the connection, its own log output says why");
    return bytes;
  } catch (error) {
    throw silent ? new ProtocolError(`Nothing came for ${SILENCE_MAX_MS} ms, is this a master's HA port?`) : error;
  } finally {
    timer.cancel();
  }
}
