// One request or response of the remoting protocol, in memory, and its form on the wire: the eight bytes in front of a
// header and a body. The header codecs are beside it; cutting a byte stream into frames is frame_decoder.ts.
//
//   | 4: L = bytes that follow | 1: header's type | 3: H | H: header | L - 4 - H: body |

import { RemotingError } from "../base/errors.ts";
import { writeInt32 } from "../base/bytes.ts";
import { encodeJsonHeader, plainJsonHeaderSizeMax, writePlainJsonHeader } from "./json_header.ts";
import type { RemotingHeader } from "./remoting_header.ts";
import { encodeRocketmqHeader } from "./rocketmq_header.ts";
import { ResponseCode } from "./response_code.ts";

/** The peer's language, sent in each header. A subset of Apache's `LanguageCode`. */
export const LANGUAGE = "JAVA";
/** `MQVersion` ordinal we present: V5_3_3. */
export const MQ_VERSION = 479;
/** Its printed name. */
export const MQ_VERSION_DESC = "V5_3_3";

/** `flag` bit: this is a response. */
export const FLAG_RESPONSE = 1;
/** `flag` bit: nobody waits for an answer. */
export const FLAG_ONEWAY = 2;

/** How a header is written. Mirrors Apache's `SerializeType`. */
export const SerializeType = { JSON: 0, ROCKETMQ: 1 } as const;
export type SerializeType = (typeof SerializeType)[keyof typeof SerializeType];

/** A request or response. Mirrors Apache's `RemotingCommand`. */
export interface RemotingCommand extends RemotingHeader {
  /** Empty when there is none: the wire doesn't tell the two apart. */
  readonly body: Uint8Array;
  /** Called once, by whoever sends it, when it needs the body no longer: its memory may be used again. */
  readonly release?: (() => void) | undefined;
}

/** Values of `extFields` before they become strings; `null` and `undefined` are left out. */
export type ExtValues = Readonly<Record<string, string | number | bigint | boolean | null | undefined>>;

const NO_BODY = new Uint8Array(0);
const NO_EXT: ReadonlyMap<string, string> = new Map();

/** A request; its opaque is set by the connection that sends it. */
export function createRequest(code: number, ext?: ExtValues, body?: Uint8Array): RemotingCommand {
  return {
    code,
    language: LANGUAGE,
    version: MQ_VERSION,
    opaque: 0,
    flag: 0,
    remark: null,
    extFields: ext === undefined ? NO_EXT : toExtFields(ext),
    body: body ?? NO_BODY,
  };
}

/** The answer to `request`. That of a one-way request keeps its mark, and is never sent. */
export function createResponse(
  request: RemotingHeader,
  code: number,
  parts: { remark?: string; ext?: ExtValues; body?: Uint8Array; release?: (() => void) | undefined } = {},
): RemotingCommand {
  return {
    code,
    language: LANGUAGE,
    version: MQ_VERSION,
    opaque: request.opaque,
    flag: FLAG_RESPONSE | (request.flag & FLAG_ONEWAY),
    remark: parts.remark ?? null,
    extFields: parts.ext === undefined ? NO_EXT : toExtFields(parts.ext),
    body: parts.body ?? NO_BODY,
    release: parts.release,
  };
}

/** Whether this answers one of our requests. */
export function isResponse(command: RemotingHeader): boolean {
  return (command.flag & FLAG_RESPONSE) !== 0;
}

/** Whether nobody waits for an answer. */
export function isOneway(command: RemotingHeader): boolean {
  return (command.flag & FLAG_ONEWAY) !== 0;
}

/** The ext value, or a {@link RemotingError} `SYSTEM_ERROR` naming what is missing. */
export function requiredExt(command: RemotingHeader, key: string): string {
  const value = command.extFields.get(key);
  if (value === undefined) throw new RemotingError(ResponseCode.SYSTEM_ERROR, `Request lacks the ext field "${key}"`);
  return value;
}

/** The whole frame. A `RangeError` for a header of 16 MiB or more: a bug of ours. */
export function encodeFrame(
  command: RemotingCommand,
  type: SerializeType = SerializeType.JSON,
): Uint8Array<ArrayBuffer> {
  const header = type === SerializeType.JSON ? encodeJsonHeader(command) : encodeRocketmqHeader(command);
  const frame = new Uint8Array(8 + header.length + command.body.length);
  writePrefix(frame, 0, type, header.length, command.body.length);
  frame.set(header, 8);
  frame.set(command.body, 8 + header.length);
  return frame;
}

/** What {@link encodeHead} makes of this command has at most so many bytes, unless it returns -1. */
export function headSizeMax(command: RemotingCommand): number {
  return 8 + plainJsonHeaderSizeMax(command);
}

/**
 * Writes a frame up to its body, the header in JSON, at `at`, and returns its end; `target` has room for
 * {@link headSizeMax}. -1: the header is not plain ASCII, {@link encodeFrame} makes it.
 */
export function encodeHead(command: RemotingCommand, target: Uint8Array, at: number): number {
  const end = writePlainJsonHeader(command, target, at + 8);
  if (end >= 0) writePrefix(target, at, SerializeType.JSON, end - at - 8, command.body.length);
  return end;
}

function writePrefix(
  target: Uint8Array,
  at: number,
  type: SerializeType,
  headerSize: number,
  bodySize: number,
): void {
  if (headerSize > 0xff_ffff) throw new RangeError(`Header has ${headerSize} bytes, wanted at most 16777215`);
  writeInt32(target, at, 4 + headerSize + bodySize);
  writeInt32(target, at + 4, (type << 24) | headerSize);
}

function toExtFields(ext: ExtValues): Map<string, string> {
  const fields = new Map<string, string>();
  for (const key in ext) {
    const value = ext[key];
    if (typeof value === "string") fields.set(key, value);
    else if (value !== null && value !== undefined) fields.set(key, String(value));
  }
  return fields;
}
