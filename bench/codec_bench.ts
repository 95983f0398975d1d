// The parts every replicated byte goes through, one by one: framing, the check of a record, reports, what dispatch
// reads, and the making of a record. Pure, in memory.

import { REPORT_HEADER_SIZE, TRANSFER_HEADER_SIZE, writeReport, writeTransferHeader } from "../src/ha/frames.ts";
import { ReportDecoder } from "../src/ha/report_decoder.ts";
import { TransferDecoder } from "../src/ha/transfer_decoder.ts";
import { DispatchReader } from "../src/store/dispatch_reader.ts";
import { decodeMessage } from "../src/store/message_codec.ts";
import { isRefusal, type PreparedMessage, prepareMessage, writeRecord } from "../src/store/message_encoder.ts";
import { DelayLevels } from "../src/store/message_properties.ts";
import { RecordValidator, RecordVerdict } from "../src/store/record_validator.ts";
import { makeMessage } from "./lib/log_maker.ts";
import { runBenchmarks } from "./shim.ts";

const MIB = 1024 * 1024;
const ENCODER_OPTIONS = { maxMessageSize: 4 * MIB, enabledAppendPropCRC: false };

function prepare(index: number): PreparedMessage {
  const prepared = prepareMessage(makeMessage(index), ENCODER_OPTIONS);
  if (isRefusal(prepared)) throw new Error(prepared.remark);
  return prepared;
}

/** About 1 MiB of whole records, as at the start of a log. */
function makeRecords(): Uint8Array {
  const bytes = new Uint8Array(MIB);
  for (let index = 0, at = 0;; index++) {
    const prepared = prepare(index);
    if (at + prepared.size > bytes.length) return bytes.subarray(0, at);
    writeRecord(prepared, bytes, at, { queueOffset: index, physicalOffset: at, storeTimestamp: 1_760_000_000_000 });
    at += prepared.size;
  }
}

/** The records as a master's byte stream in frames of 32 KiB. */
function makeFrames(records: Uint8Array): Uint8Array {
  const bodySize = 32 * 1024;
  const frames = new Uint8Array(records.length + Math.ceil(records.length / bodySize) * TRANSFER_HEADER_SIZE);
  for (let offset = 0, at = 0; offset < records.length; offset += bodySize) {
    const body = records.subarray(offset, offset + bodySize);
    writeTransferHeader(frames, at, offset, body.length);
    frames.set(body, at + TRANSFER_HEADER_SIZE);
    at += TRANSFER_HEADER_SIZE + body.length;
  }
  return frames;
}

const records = makeRecords();
const frames = makeFrames(records);
const reports = new Uint8Array(64 * REPORT_HEADER_SIZE + 3);
for (let i = 0; i < 64; i++) writeReport(reports, i * REPORT_HEADER_SIZE, i * MIB);
const dispatchReader = new DispatchReader(new DelayLevels("1s 5s"));
const prepared = prepare(0);
const recordBytes = new Uint8Array(prepared.size);

function decodeFrames(pieceSize: number): void {
  const decoder = new TransferDecoder();
  let bodies = 0;
  for (let at = 0; at < frames.length; at += pieceSize) {
    decoder.feed(frames.subarray(at, at + pieceSize));
    for (let part = decoder.next(); part !== null; part = decoder.next()) {
      if (part === "body") bodies += decoder.chunk.length;
    }
  }
  if (bodies !== records.length) throw new Error(`Decoded ${bodies} bytes, wanted ${records.length}`);
}

function checkRecords(checkCRC: boolean): void {
  const validator = new RecordValidator({
    mappedFileSize: 1024 * MIB,
    recordSizeMax: 4 * MIB,
    checkCRC,
    forceVerifyPropCRC: false,
  });
  let at = 0;
  while (validator.check(records, at, records.length, at) === RecordVerdict.OK) at += validator.size;
  if (at !== records.length) throw new Error(`Checked ${at} bytes, wanted ${records.length}`);
}

function eachRecord(visit: (at: number) => number): void {
  for (let at = 0; at < records.length;) at += visit(at);
}

await runBenchmarks(import.meta, [
  { name: "transfer decoder, pieces of 64 KiB", group: "frames", bytes: frames.length, fn: () => decodeFrames(65_536) },
  { name: "transfer decoder, pieces of 1 KB", group: "frames", bytes: frames.length, fn: () => decodeFrames(1000) },
  { name: "report decoder, 64 glued reports", group: "frames", fn: () => void new ReportDecoder().push(reports) },
  { name: "record check with CRC", group: "records", bytes: records.length, fn: () => checkRecords(true) },
  { name: "record check without CRC", group: "records", bytes: records.length, fn: () => checkRecords(false) },
  {
    name: "dispatch fields",
    group: "records",
    bytes: records.length,
    fn: () => eachRecord((at) => dispatchReader.read(records, at) ? dispatchReader.msgSize : Infinity),
  },
  { name: "decode a message", group: "message", fn: () => void decodeMessage(records, 0) },
  { name: "prepare a message", group: "message", fn: () => void prepare(7) },
  {
    name: "write a prepared record",
    group: "message",
    fn: () => writeRecord(prepared, recordBytes, 0, { queueOffset: 1, physicalOffset: 2, storeTimestamp: 3 }),
  },
]);
