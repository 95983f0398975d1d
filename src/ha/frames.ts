// The two frames of Apache's default HA wire, as bytes and as numbers. It owns layout and the checks a single frame
// allows; it knows nothing of logs, sockets or state. The decoders, the connections and the drivers use it.
//
//   slave -> master, report (8 bytes, nothing else, ever)
//   +--------------------------------+
//   | offset                  int64  |   first on a connection: the request; every later one: the ack
//   +--------------------------------+
//
//   master -> slave, transfer (12 bytes, then the body)
//   +--------------------------------+----------------+----------------------+
//   | physicOffset            int64  | bodySize int32 | body, bodySize bytes |   bodySize 0: heartbeat
//   +--------------------------------+----------------+----------------------+
//
// All integers are big-endian and signed. There is no greeting, version, checksum or length prefix.

import { readInt32, readOffset, writeInt32, writeInt64 } from "../base/bytes.ts";
import { ProtocolError } from "../base/errors.ts";

/** Bytes of a transfer's header. Mirrors Apache's `DefaultHAConnection.TRANSFER_HEADER_SIZE`. */
export const TRANSFER_HEADER_SIZE = 12;

/** Bytes of a report. Mirrors Apache's `DefaultHAClient.REPORT_HEADER_SIZE`. */
export const REPORT_HEADER_SIZE = 8;

/** An Apache slave's receive buffer (`READ_MAX_BUFFER_SIZE`), bytes: a frame that exceeds it can never be completed. */
export const SLAVE_RECEIVE_BUFFER_SIZE = 4 * 1024 * 1024;

/** The largest body a transfer may carry, bytes. */
export const BODY_SIZE_MAX = SLAVE_RECEIVE_BUFFER_SIZE - TRANSFER_HEADER_SIZE;

/** First bytes of TLS records, of a handshake and of an alert. An offset's first byte is always 0. */
export const TLS_HANDSHAKE_BYTE = 0x16;
/** See {@link TLS_HANDSHAKE_BYTE}. */
export const TLS_ALERT_BYTE = 0x15;

/** What to ask whoever reached a port that speaks something else, in words that end a message. */
export const IS_HA_PORT = "is this the master's HA port (listenPort + 1)?";

/** A transfer's header. */
export interface TransferHeader {
  /** Where the body stands in the log; of a heartbeat: the next offset the master will send. Bytes, never negative. */
  readonly physicOffset: number;
  /** 0 (a heartbeat) to {@link BODY_SIZE_MAX}. */
  readonly bodySize: number;
}

/** Writes a header at `at`; 12 bytes. The values are ours and not checked. */
export function writeTransferHeader(target: Uint8Array, at: number, physicOffset: number, bodySize: number): void {
  writeInt64(target, at, physicOffset);
  writeInt32(target, at + 8, bodySize);
}

/** Reads the header at `at`. Throws {@link ProtocolError} for a value no master may send. */
export function readTransferHeader(bytes: Uint8Array, at: number): TransferHeader {
  const physicOffset = readOffset(bytes, at, "Transfer's physical offset");
  if (physicOffset < 0) throw new ProtocolError(`Transfer's physical offset is ${physicOffset}, wanted 0 or more`);
  const bodySize = readInt32(bytes, at + 8);
  if (bodySize < 0 || bodySize > BODY_SIZE_MAX) {
    throw new ProtocolError(`Transfer's body size is ${bodySize}, wanted 0 to ${BODY_SIZE_MAX}`);
  }
  return { physicOffset, bodySize };
}

/** Writes a report at `at`; 8 bytes. The value is ours and not checked. */
export function writeReport(target: Uint8Array, at: number, offset: number): void {
  writeInt64(target, at, offset);
}

/** Reads the report at `at`. Throws {@link ProtocolError} for a value that can't be an offset. */
export function readReport(bytes: Uint8Array, at: number): number {
  const offset = readOffset(bytes, at, "Slave's report");
  if (offset < 0) throw new ProtocolError(`Slave's report is ${offset}, wanted 0 or more`);
  return offset;
}
