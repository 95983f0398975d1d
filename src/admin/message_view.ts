// Between the store's messages and JSON: text and base64, addresses, and bodies that a producer had compressed. Pure.

import { inflateSync } from "node:zlib";
import type { RecordHost, StoredMessage } from "../store/types.ts";

const SYS_FLAG_COMPRESSED = 0x1;
const SYS_FLAG_COMPRESSION_TYPE = 0x700;
const SYS_FLAG_ZLIB = 0x300;
/** Bytes that the bodies of one answer inflate to; one that would take more is shown as stored. */
const INFLATED_MAX = 16 * 1024 * 1024;

/** A message as `GET /topics/{topic}/messages` shows it. */
export interface MessageView {
  topic: string;
  queueId: number;
  queueOffset: number;
  physicalOffset: number;
  storeSize: number;
  msgId: string;
  bornTimestamp: number;
  storeTimestamp: number;
  bornHost: string;
  storeHost: string;
  flag: number;
  sysFlag: number;
  reconsumeTimes: number;
  properties: Record<string, string>;
  /** Bytes of the body, inflated when it could be. */
  bodySize: number;
  /** `null` when the body is not UTF-8 text. */
  body: string | null;
  /** The bytes as stored, when `body` is `null`. */
  bodyBase64: string | null;
}

/** The views of an answer's messages. What they inflate to is bounded for all of them: a few KiB can stand for MiB each. */
export function viewMessages(messages: readonly StoredMessage[]): MessageView[] {
  let left = INFLATED_MAX;
  return messages.map((message) => {
    const bytes = inflated(message, left);
    // One that was too large has cost as much work; half of what is left goes for it, so that a smaller one still fits.
    left = bytes === null ? Math.floor(left / 2) : bytes === message.body ? left : left - bytes.length;
    return viewOf(message, bytes ?? message.body);
  });
}

/** {@link viewMessages} of one. */
export function viewMessage(message: StoredMessage): MessageView {
  return viewMessages([message])[0]!;
}

function viewOf(message: StoredMessage, bytes: Uint8Array): MessageView {
  const body = textOf(bytes);
  return {
    topic: message.topic,
    queueId: message.queueId,
    queueOffset: message.queueOffset,
    physicalOffset: message.physicalOffset,
    storeSize: message.storeSize,
    msgId: message.msgId,
    bornTimestamp: message.bornTimestamp,
    storeTimestamp: message.storeTimestamp,
    bornHost: formatHost(message.bornHost),
    storeHost: formatHost(message.storeHost),
    flag: message.flag,
    sysFlag: message.sysFlag,
    reconsumeTimes: message.reconsumeTimes,
    properties: Object.fromEntries(message.properties),
    bodySize: bytes.length,
    body,
    bodyBase64: body === null ? toBase64(message.body) : null,
  };
}

/**
 * The body without zlib compression; other compressions, and what doesn't inflate, are left as they are. Null when it
 * inflates to more than `max` bytes.
 */
function inflated(message: StoredMessage, max: number): Uint8Array | null {
  const type = message.sysFlag & SYS_FLAG_COMPRESSION_TYPE;
  if ((message.sysFlag & SYS_FLAG_COMPRESSED) === 0 || (type !== 0 && type !== SYS_FLAG_ZLIB)) return message.body;
  if (max <= 0) return message.body;
  try {
    return inflateSync(message.body, { maxOutputLength: max });
  } catch (error) {
    return error instanceof RangeError ? null : message.body;
  }
}

const STRICT_UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string | null {
  try {
    return STRICT_UTF8.decode(bytes);
  } catch {
    return null;
  }
}

/** `1.2.3.4:5` or `[1:2:...]:5`. */
export function formatHost(host: RecordHost): string {
  if (host.address.length === 4) return `${host.address.join(".")}:${host.port}`;
  const groups: string[] = [];
  for (let at = 0; at + 1 < host.address.length; at += 2) {
    groups.push(((host.address[at]! << 8) | host.address[at + 1]!).toString(16));
  }
  return `[${groups.join(":")}]:${host.port}`;
}

/** Bytes to base64. */
export function toBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let at = 0; at < bytes.length; at += 0x8000) binary += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(binary);
}

/** Base64 to bytes, `null` when it is not base64. */
export function fromBase64(text: string): Uint8Array | null {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}
