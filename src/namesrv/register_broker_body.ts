// Bodies that brokers send, read: a registration in its two forms, a data version, the queues of one topic. Nothing here
// is believed: every value is checked, and what a deflated body may grow to is bounded. Pure; namesrv_processors.ts asks.
//
// The deflated form, one zlib stream; every length and count is an int32:
//
//   | length, DataVersion JSON | count | per topic: length, "name read write perm filterType attributes" |
//   | length, filterServerList JSON | from 5.0 on: count, per mapping: length, TopicQueueMappingInfo JSON |

import { inflateSync } from "node:zlib";
import { readInt32, utf8 } from "../base/bytes.ts";
import { errorMessage, ProtocolError } from "../base/errors.ts";
import { printableJson, quoted } from "../base/printable.ts";
import {
  isJavaJsonObject,
  type JavaJson,
  type JavaJsonObject,
  parseJavaJson,
  WIRE_FORMAT,
  writeJavaJson,
} from "../remoting/java_json.ts";
import type {
  DataVersion,
  QueueData,
  RegisterBrokerBody,
  RegisteredTopic,
  TopicQueueMappingInfo,
} from "./route_types.ts";

/** Most bytes of an inflated body; 100,000 topics take some 6 MB. */
export const INFLATED_MAX = 32 * 1024 * 1024;
/** Characters of a topic, broker, cluster or address; Apache's longest, of a retry topic, has some 400. */
const NAME_MAX = 1024;
/** Filter servers of one broker; they are gone since 4.3. */
const FILTER_SERVERS_MAX = 64;
/** `MQVersion` V3_0_11: older brokers send the wrapper of topics alone. */
const VERSION_WITH_FILTER_SERVERS = 37;
/** `MQVersion` V5_0_0: from here on the deflated form ends with queue mappings. */
const VERSION_WITH_MAPPINGS = 413;
/** First byte of a zlib stream, in no JSON text. */
const ZLIB = 0x78;
/** Apache's defaults of a `TopicConfig`'s members. */
const QUEUE_NUMS = 16;
const PERM = 6;

/** What a request without a body registers. */
const NOTHING: RegisterBrokerBody = {
  dataVersion: { counter: 0, stateVersion: 0, timestamp: 0 },
  topics: [],
  mappings: [],
  filterServerList: [],
};

/**
 * Reads the body of REGISTER_BROKER, whatever the broker's version makes of it. Throws {@link ProtocolError}. Mirrors
 * `RegisterBrokerBody.decode`; unlike there a deflated body is known by its first byte too, as 5.3.3's brokers never say
 * in the header that it is one.
 */
export function decodeRegisterBrokerBody(
  body: Uint8Array,
  { compressed, version }: { readonly compressed: boolean; readonly version: number },
): RegisterBrokerBody {
  const hasFilterServers = version >= VERSION_WITH_FILTER_SERVERS;
  if (body.length === 0) return hasFilterServers ? NOTHING : { ...NOTHING, filterServerList: null };
  if (!hasFilterServers) return { ...wrapperOf(parseObject(utf8.decode(body), "Body")), filterServerList: null };
  if (compressed || body[0] === ZLIB) return decodeDeflated(inflate(body), version);
  const json = parseObject(utf8.decode(body), "Body");
  return {
    ...wrapperOf(objectOf(json.topicConfigSerializeWrapper, "topicConfigSerializeWrapper") ?? {}),
    filterServerList: filterServersOf(json.filterServerList),
  };
}

/** Reads a body that is one DataVersion; null for none. Throws {@link ProtocolError}. */
export function decodeDataVersion(body: Uint8Array): DataVersion | null {
  return body.length === 0 ? null : dataVersionOf(parseObject(utf8.decode(body), "Data version"));
}

/** Reads the queues in the TopicRouteData of REGISTER_TOPIC_IN_NAMESRV. Throws {@link ProtocolError}. */
export function decodeQueueDatas(body: Uint8Array): QueueData[] {
  if (body.length === 0) return [];
  const { queueDatas } = parseObject(utf8.decode(body), "Body");
  if (queueDatas === undefined || queueDatas === null) return [];
  if (!Array.isArray(queueDatas)) throw wrong("queueDatas", queueDatas, "a list");
  return queueDatas.map((each) => {
    const data = objectOf(each, "An entry of queueDatas");
    if (data === null) throw wrong("An entry of queueDatas", each, "an object");
    return {
      brokerName: checkedName(data.brokerName, "brokerName"),
      perm: int32(data.perm, "perm", 0),
      readQueueNums: int32(data.readQueueNums, "readQueueNums", 0),
      topicSysFlag: int32(data.topicSysFlag, "topicSysFlag", 0),
      writeQueueNums: int32(data.writeQueueNums, "writeQueueNums", 0),
    };
  });
}

/** A name from a peer that goes into tables, lines of log and answers. Throws {@link ProtocolError} naming `what`. */
export function checkedName(value: JavaJson | undefined, what: string): string {
  if (typeof value === "string" && value !== "" && value.length <= NAME_MAX && !/[\u0000-\u001f\u007f]/.test(value)) {
    return value;
  }
  throw wrong(what, value, `1 to ${NAME_MAX} characters, none of them a control character`);
}

/** A 64-bit integer of a header. Throws {@link ProtocolError} naming `what`, also beyond 2^53. */
export function checkedLong(text: string, what: string): number {
  return long(text, what);
}

type Wrapper = Omit<RegisterBrokerBody, "filterServerList">;

/** Apache's `TopicConfigAndMappingSerializeWrapper`, or the older one without mappings. */
function wrapperOf(json: Readonly<Record<string, JavaJson>>): Wrapper {
  const topics: RegisteredTopic[] = [];
  for (const [key, value] of Object.entries(objectOf(json.topicConfigTable, "topicConfigTable") ?? {})) {
    const topic = objectOf(value, "An entry of topicConfigTable");
    if (topic === null) throw wrong("An entry of topicConfigTable", value, "an object");
    topics.push({
      topicName: checkedName(topic.topicName ?? key, "topicName"),
      perm: int32(topic.perm, "perm", PERM),
      readQueueNums: int32(topic.readQueueNums, "readQueueNums", QUEUE_NUMS),
      topicSysFlag: int32(topic.topicSysFlag, "topicSysFlag", 0),
      writeQueueNums: int32(topic.writeQueueNums, "writeQueueNums", QUEUE_NUMS),
    });
  }
  const mappings = Object.entries(objectOf(json.topicQueueMappingInfoMap, "topicQueueMappingInfoMap") ?? {})
    .map(([topic, value]) => mappingOf(value, topic));
  const dataVersion = objectOf(json.dataVersion, "dataVersion");
  return { dataVersion: dataVersion === null ? null : dataVersionOf(dataVersion), topics, mappings };
}

function decodeDeflated(bytes: Uint8Array, version: number): RegisterBrokerBody {
  const reader = new PartReader(bytes);
  const dataVersion = dataVersionOf(parseObject(reader.text("data version"), "Data version"));
  const topics: RegisteredTopic[] = [];
  for (let left = reader.count("topics"); left > 0; left--) topics.push(topicOf(reader.text("topic")));
  const filterServerList = filterServersOf(parse(reader.text("filter servers")));
  const mappings: TopicQueueMappingInfo[] = [];
  if (version >= VERSION_WITH_MAPPINGS) {
    for (let left = reader.count("queue mappings"); left > 0; left--) {
      mappings.push(mappingOf(parse(reader.text("queue mapping")), null));
    }
  }
  return { dataVersion, topics, mappings, filterServerList };
}

/** `name readQueueNums writeQueueNums perm filterType attributes`, the last one since 5.0. Mirrors `TopicConfig.decode`. */
function topicOf(text: string): RegisteredTopic {
  const parts = text.split(" ");
  if (parts.length < 5) throw wrong("A topic", text, "name, read and write queues, perm and filter type");
  const [topicName, readQueueNums, writeQueueNums, perm] = parts;
  return {
    topicName: copied(checkedName(topicName, "Topic name"), text),
    perm: int32(perm, "perm", PERM),
    readQueueNums: int32(readQueueNums, "readQueueNums", QUEUE_NUMS),
    topicSysFlag: 0,
    writeQueueNums: int32(writeQueueNums, "writeQueueNums", QUEUE_NUMS),
  };
}

/** A part of a text, on its own where it would keep much of that text with it. */
function copied(part: string, text: string): string {
  return text.length > 2 * part.length + 256 ? utf8.decode(utf8.encode(part)) : part;
}

function mappingOf(value: JavaJson | undefined, key: string | null): TopicQueueMappingInfo {
  const json = objectOf(value, "A queue mapping");
  if (json === null) throw wrong("A queue mapping", value, "an object");
  const currIdMap: Record<string, number> = Object.create(null);
  for (const [id, physical] of Object.entries(objectOf(json.currIdMap, "currIdMap") ?? {})) {
    currIdMap[int32(id, "A queue id", 0)] = int32(physical, "A queue id", 0);
  }
  return {
    bname: checkedName(json.bname, "bname"),
    currIdMap,
    dirty: json.dirty === true || json.dirty === "true",
    epoch: long(json.epoch ?? 0, "epoch"),
    scope: checkedName(json.scope ?? "__global__", "scope"),
    topic: checkedName(json.topic ?? key ?? undefined, "topic"),
    totalQueues: int32(json.totalQueues, "totalQueues", 0),
  };
}

function filterServersOf(value: JavaJson | undefined): string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > FILTER_SERVERS_MAX) {
    throw wrong("filterServerList", value, `a list of at most ${FILTER_SERVERS_MAX}`);
  }
  return value.map((each) => checkedName(each, "A filter server"));
}

function dataVersionOf(json: Readonly<Record<string, JavaJson>>): DataVersion {
  return {
    counter: long(json.counter ?? 0, "counter"),
    stateVersion: long(json.stateVersion ?? 0, "stateVersion"),
    timestamp: long(json.timestamp ?? 0, "timestamp"),
  };
}

/** Length-prefixed parts, one after another. */
class PartReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** A number of parts; each takes at least its length. */
  count(what: string): number {
    const count = this.#int32(what);
    const left = this.#bytes.length - this.#at;
    if (count >= 0 && count * 4 <= left) return count;
    throw new ProtocolError(`Number of ${what} is ${count} with ${left} bytes left`);
  }

  text(what: string): string {
    const length = this.#int32(what);
    const left = this.#bytes.length - this.#at;
    if (length < 0 || length > left) {
      throw new ProtocolError(`Length of a ${what} is ${length} with ${left} bytes left`);
    }
    const start = this.#at;
    this.#at += length;
    return utf8.decode(this.#bytes.subarray(start, this.#at));
  }

  #int32(what: string): number {
    if (this.#bytes.length - this.#at < 4) throw new ProtocolError(`Body ends before its ${what}, wanted 4 bytes more`);
    this.#at += 4;
    return readInt32(this.#bytes, this.#at - 4);
  }
}

function inflate(body: Uint8Array): Uint8Array {
  try {
    return inflateSync(body, { maxOutputLength: INFLATED_MAX });
  } catch (error) {
    if ((error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE") {
      throw new ProtocolError(`Body of ${body.length} bytes inflates to more than ${INFLATED_MAX}, wanted less`);
    }
    throw new ProtocolError(`Body of ${body.length} bytes is no zlib stream, wanted one: ${errorMessage(error)}`);
  }
}

/**
 * The runtime's own parser where the text is plain JSON, as nearly all is: many times faster. What is fastjson's dialect is
 * made plain first; so no name that is kept is a part of the whole text, which would then be kept with it.
 */
function parse(text: string): JavaJson {
  if (!text.includes("$ref")) {
    try {
      return JSON.parse(text) as JavaJson;
    } catch {
      // fastjson's dialect, or nothing; the other parser knows.
    }
  }
  const json = parseJavaJson(text);
  try {
    return JSON.parse(writeJavaJson(json, WIRE_FORMAT)) as JavaJson;
  } catch {
    throw new ProtocolError("JSON has an object as a key, or too many references, wanted neither");
  }
}

function parseObject(text: string, what: string): JavaJsonObject {
  const json = objectOf(parse(text), what);
  if (json === null) throw new ProtocolError(`${what} is null, wanted an object`);
  return json;
}

/** null for what is missing. */
function objectOf(value: JavaJson | undefined, what: string): JavaJsonObject | null {
  if (value === undefined || value === null) return null;
  if (!isJavaJsonObject(value)) throw wrong(what, value, "an object");
  return value;
}

/** fastjson takes digits in quotes too. */
function int32(value: JavaJson | undefined, what: string, fallback: number): number {
  if (value === undefined || value === null) return fallback;
  const number = typeof value === "string" && /^-?\d{1,10}$/.test(value) ? Number(value) : value;
  if (typeof number !== "number" || (number | 0) !== number) throw wrong(what, value, "a 32-bit integer");
  return number | 0;
}

function long(value: JavaJson, what: string): number {
  const number = typeof value === "string" && /^-?\d{1,19}$/.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isSafeInteger(number)) {
    throw wrong(what, value, "an integer of at most 2^53 - 1");
  }
  return number + 0;
}

function wrong(what: string, value: JavaJson | undefined, wanted: string): ProtocolError {
  return new ProtocolError(`${what} is ${seen(value)}, wanted ${wanted}`);
}

/** What a peer sent, in a few words: it may be long, or nested so deeply that showing it fails. */
function seen(value: JavaJson | undefined): string {
  if (value === undefined) return "missing";
  if (typeof value === "string") return quoted(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return typeof value === "object" && value !== null ? "an object" : printableJson(String(value));
}
