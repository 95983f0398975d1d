// What the header of a pull says. Judging it is pull_check.ts and the processor.

import { RemotingError } from "../../base/errors.ts";
import { quoted } from "../../base/printable.ts";
import { type RemotingCommand, requiredExt } from "../../remoting/remoting_command.ts";
import { ResponseCode } from "../../remoting/response_code.ts";

/** Bits of a pull's `sysFlag`. Mirrors Apache's `PullSysFlag`. */
export const PullSysFlag = {
  COMMIT_OFFSET: 1,
  SUSPEND: 2,
  SUBSCRIPTION: 4,
  CLASS_FILTER: 8,
  LITE_PULL_MESSAGE: 16,
} as const;

/** Mirrors Apache's `PullMessageRequestHeader`. */
export interface PullHeader {
  readonly consumerGroup: string;
  readonly topic: string;
  readonly queueId: number;
  readonly queueOffset: number;
  readonly maxMsgNums: number;
  /** Bits of {@link PullSysFlag}. */
  readonly sysFlag: number;
  /** What the consumer has done; -1 for nothing to tell. */
  readonly commitOffset: number;
  readonly suspendTimeoutMillis: number;
  /** With the bit for it. */
  readonly subscription: string | null;
  readonly subVersion: number;
  readonly expressionType: string | null;
  /** A proxy asks for a broadcast client of its own, {@link proxyClientId}. */
  readonly isProxyBroadcast: boolean;
  readonly proxyClientId: string | null;
}

/** Throws {@link RemotingError} `SYSTEM_ERROR` for a number that is none, or a field that is missing. */
export function readPullHeader(request: RemotingCommand): PullHeader {
  const { extFields } = request;
  const integer = (name: string, fallback?: number) => {
    const text = fallback === undefined ? requiredExt(request, name) : extFields.get(name);
    if (text === undefined) return fallback!;
    const value = Number(text);
    if (Number.isSafeInteger(value) && text !== "") return value;
    // A Java `long` that a double can't hold stands for "no end".
    if (/^-?\d{16,19}$/.test(text)) return value < 0 ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
    throw new RemotingError(
      ResponseCode.SYSTEM_ERROR,
      `Ext field "${name}" is ${quoted(text, 40)}, wanted a whole number`,
    );
  };
  return {
    consumerGroup: requiredExt(request, "consumerGroup"),
    topic: requiredExt(request, "topic"),
    queueId: integer("queueId"),
    queueOffset: integer("queueOffset"),
    maxMsgNums: Math.max(1, integer("maxMsgNums")),
    sysFlag: integer("sysFlag"),
    commitOffset: integer("commitOffset", -1),
    suspendTimeoutMillis: integer("suspendTimeoutMillis", 0),
    subscription: extFields.get("subscription") ?? null,
    subVersion: integer("subVersion", 0),
    expressionType: extFields.get("expressionType") ?? null,
    isProxyBroadcast: extFields.get("requestSource") === "1",
    proxyClientId: extFields.get("proxyFrowardClientId") ?? null,
  };
}
