// What a consumer subscribes to in one topic: an expression of tags or of SQL92, and the hashes of its tags. Pure values,
// made from a pull's header or read from a heartbeat; what they let through is expression_message_filter.ts.

import { RemotingError } from "../../base/errors.ts";
import { quoted } from "../../base/printable.ts";
import { isJavaJsonObject, type JavaJson } from "../../remoting/java_json.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import { javaHashCode } from "../../store/message_properties.ts";

/** Subscribes to every message of a topic. */
export const SUB_ALL = "*";

/** Kinds of expressions. Mirrors Apache's `ExpressionType`. */
export const ExpressionType = { TAG: "TAG", SQL92: "SQL92" } as const;

/** Mirrors Apache's `SubscriptionData`. */
export interface SubscriptionData {
  readonly topic: string;
  /** The expression as the consumer gave it. */
  readonly subString: string;
  readonly tagsSet: readonly string[];
  /** `javaHashCode` of each tag, as the consumer sent them. */
  readonly codeSet: readonly number[];
  /** The consumer's clock when it subscribed, Unix ms; a newer one replaces an older one. */
  readonly subVersion: number;
  readonly expressionType: string;
  /** A leftover of FilterServers: everything passes. */
  readonly classFilterMode: boolean;
}

/** Whether the type is that of tags, also by being left out. Mirrors `ExpressionType.isTagType`. */
export function isTagType(type: string | null | undefined): boolean {
  return type === null || type === undefined || type === "" || type === ExpressionType.TAG;
}

/**
 * The subscription a pull carries in its header. `subVersion` is 0 when nobody asks for it. Throws
 * {@link RemotingError} `SUBSCRIPTION_PARSE_FAILED` for an empty expression that is not one of tags, and for tags that
 * are nothing but `||`. Mirrors `FilterAPI.build`.
 */
export function buildSubscriptionData(
  topic: string,
  subString: string | null | undefined,
  type?: string | null,
  subVersion = 0,
): SubscriptionData {
  const text = subString ?? "";
  if (!isTagType(type)) {
    if (text === "") throw parseFailed(`Subscription of type ${quoted(type!, 40)} is empty, wanted an expression`);
    return subscription(topic, text, [], subVersion, type!);
  }
  if (text === "" || text === SUB_ALL) return subscription(topic, SUB_ALL, [], subVersion, ExpressionType.TAG);
  const parts = text.split("||");
  if (parts.every((part) => part === "")) throw parseFailed(`Subscription is ${quoted(text, 40)}, wanted tags`);
  const tags = new Set(parts.map(javaTrim).filter((tag) => tag !== ""));
  return subscription(topic, text, [...tags], subVersion, ExpressionType.TAG);
}

function subscription(
  topic: string,
  subString: string,
  tagsSet: readonly string[],
  subVersion: number,
  expressionType: string,
): SubscriptionData {
  const codeSet = [...new Set(tagsSet.map(javaHashCode))];
  return { topic, subString, tagsSet, codeSet, subVersion, expressionType, classFilterMode: false };
}

/** Java's `String.trim`: blanks and control characters, nothing else. */
function javaTrim(text: string): string {
  return text.replace(/^[\0-\x20]+|[\0-\x20]+$/g, "");
}

/**
 * A member of a heartbeat's `subscriptionDataSet`. Throws {@link RemotingError} `SYSTEM_ERROR` when it has no topic;
 * other members that are missing or of a wrong kind get Java's defaults. The hashes are those the consumer sent.
 */
export function readSubscriptionData(json: JavaJson | undefined): SubscriptionData {
  if (!isJavaJsonObject(json)) {
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, "Subscription is something else, wanted a JSON object");
  }
  const topic = textOf(json.topic);
  if (topic === null || topic === "") {
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, "Subscription is without a topic, wanted one");
  }
  const expressionType = textOf(json.expressionType);
  return {
    topic,
    subString: textOf(json.subString) ?? "",
    tagsSet: itemsOf(json.tagsSet, textOf),
    codeSet: itemsOf(json.codeSet, integerOf),
    subVersion: integerOf(json.subVersion) ?? 0,
    expressionType: expressionType === null || expressionType === "" ? ExpressionType.TAG : expressionType,
    classFilterMode: json.classFilterMode === true || json.classFilterMode === "true",
  };
}

/** fastjson reads a number where a text is wanted, and the other way round. */
function textOf(value: JavaJson | undefined): string | null {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "bigint" || typeof value === "boolean" ? String(value) : null;
}

function integerOf(value: JavaJson | undefined): number | null {
  if (value === "" || (typeof value !== "string" && typeof value !== "number")) return null;
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : null;
}

function itemsOf<T>(value: JavaJson | undefined, read: (item: JavaJson) => T | null): readonly T[] {
  if (!Array.isArray(value)) return [];
  const items: T[] = [];
  for (const item of value) {
    const kept = read(item);
    if (kept !== null) items.push(kept);
  }
  return items;
}

function parseFailed(remark: string): RemotingError {
  return new RemotingError(ResponseCode.SUBSCRIPTION_PARSE_FAILED, remark);
}
