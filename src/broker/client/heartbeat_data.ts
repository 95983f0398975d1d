// The body of a heartbeat (34), read with bounds: what a client says of itself is kept until it falls silent. Pure.

import { utf8 } from "../../base/bytes.ts";
import { ProtocolError, RemotingError } from "../../base/errors.ts";
import { isJavaJsonObject, type JavaJson, type JavaJsonObject, parseJavaJson } from "../../remoting/java_json.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import { readSubscriptionData, type SubscriptionData } from "../filter/subscription_data.ts";
import type { ConsumerTraits, ConsumeType, MessageModel } from "./consumer_group_info.ts";

/** One consumer group of a client. Mirrors Apache's `ConsumerData`. */
export interface ConsumerData {
  readonly groupName: string;
  readonly traits: ConsumerTraits;
  readonly subscriptions: readonly SubscriptionData[];
  readonly unitMode: boolean;
}

/** What a client says of itself. Mirrors Apache's `HeartbeatData`. */
export interface HeartbeatData {
  readonly clientId: string;
  readonly producerGroups: readonly string[];
  readonly consumers: readonly ConsumerData[];
  /** int32; 0: a heartbeat of version 1. */
  readonly fingerprint: number;
  /** The subscriptions are those of before. */
  readonly withoutSub: boolean;
}

/** Bytes of a body. A consumer of a thousand topics sends half a MiB. */
const BODY_MAX = 4 * 1024 * 1024;
/** Groups of one client, and topics of one group. */
const GROUPS_MAX = 4096;
const TOPICS_MAX = 4096;
/** Characters of a client's id, and of a producer group: trace producers put a word in front of theirs. */
const CLIENT_ID_MAX = 1024;
const PRODUCER_GROUP_MAX = 512;
const CONSUME_TYPES: readonly ConsumeType[] = ["CONSUME_ACTIVELY", "CONSUME_PASSIVELY", "CONSUME_POP"];
const MESSAGE_MODELS: readonly MessageModel[] = ["BROADCASTING", "CLUSTERING"];

/** Reads a heartbeat's body. Throws {@link RemotingError} `SYSTEM_ERROR`, as Apache does for what it can't read. */
export function readHeartbeatData(body: Uint8Array): HeartbeatData {
  if (body.length > BODY_MAX) throw wrong(`Heartbeat has ${body.length} bytes, wanted at most ${BODY_MAX}`);
  const json = readBody(body);
  const { clientID } = json;
  if (typeof clientID !== "string" || clientID === "" || clientID.length > CLIENT_ID_MAX) {
    throw wrong(`Heartbeat has no clientID of 1 to ${CLIENT_ID_MAX} characters`);
  }
  return {
    clientId: clientID,
    producerGroups: objectsOf(json.producerDataSet, GROUPS_MAX, "producer groups").map(readProducerGroup),
    consumers: objectsOf(json.consumerDataSet, GROUPS_MAX, "consumer groups").map(readConsumerData),
    fingerprint: typeof json.heartbeatFingerprint === "number" ? json.heartbeatFingerprint | 0 : 0,
    withoutSub: isTrue(json.withoutSub),
  };
}

/** The JSON object of a request's body; {@link RemotingError} `SYSTEM_ERROR` when there is none. */
export function readBody(body: Uint8Array): JavaJsonObject {
  let json: JavaJson;
  try {
    json = parseJavaJson(utf8.decode(body));
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw wrong(`Body can't be read: ${error.message}`);
  }
  if (!isJavaJsonObject(json)) throw wrong("Body is no JSON object");
  return json;
}

function readProducerGroup({ groupName }: JavaJsonObject): string {
  if (typeof groupName === "string" && groupName !== "" && groupName.length <= PRODUCER_GROUP_MAX) return groupName;
  throw wrong(`Heartbeat has a producer group without a name of 1 to ${PRODUCER_GROUP_MAX} characters`);
}

function readConsumerData(json: JavaJsonObject): ConsumerData {
  const { groupName, consumeFromWhere } = json;
  if (typeof groupName !== "string" || groupName === "") throw wrong("Heartbeat has a consumer group without a name");
  return {
    groupName,
    traits: {
      consumeType: enumOf(CONSUME_TYPES, json.consumeType) ?? "CONSUME_PASSIVELY",
      messageModel: enumOf(MESSAGE_MODELS, json.messageModel) ?? "CLUSTERING",
      consumeFromWhere: typeof consumeFromWhere === "string" && consumeFromWhere.length <= 64
        ? consumeFromWhere
        : "CONSUME_FROM_LAST_OFFSET",
    },
    subscriptions: objectsOf(json.subscriptionDataSet, TOPICS_MAX, "topics of a group").map(readSubscriptionData),
    unitMode: isTrue(json.unitMode),
  };
}

/** fastjson takes an enum's name, whatever its case, and its ordinal. */
function enumOf<T extends string>(names: readonly T[], value: JavaJson | undefined): T | null {
  if (typeof value === "number") return names[value] ?? null;
  if (typeof value !== "string") return null;
  const upper = value.toUpperCase();
  return names.find((name) => name === upper) ?? null;
}

function isTrue(value: JavaJson | undefined): boolean {
  return value === true || value === "true";
}

function objectsOf(value: JavaJson | undefined, max: number, what: string): readonly JavaJsonObject[] {
  if (!Array.isArray(value)) return [];
  if (value.length > max) throw wrong(`Heartbeat has ${value.length} ${what}, wanted at most ${max}`);
  return value.filter(isJavaJsonObject);
}

function wrong(remark: string): RemotingError {
  return new RemotingError(ResponseCode.SYSTEM_ERROR, remark);
}
