// Messages with an arbitrary delivery time on their way into the log: they wait in a topic of the system. Pure but for
// the clock; delivering them is TimerMessageStore's matter.

import type { Config } from "../../config/schema.ts";
import { MessageConst } from "../../store/message_properties.ts";
import { isConsumable } from "../../store/message_sys_flag.ts";
import { type MessageToPut, PutMessageStatus } from "../../store/types.ts";
import type { PutMessageHook, PutRefusal } from "../put_message_service.ts";
import { parseJavaInteger } from "../../base/java_integer.ts";
import { RMQ_SYS_TIMER_TOPIC } from "../topic_validator.ts";

/** What the hook needs. */
export interface TimerHookPorts {
  readonly config: Pick<Config, "timerWheelEnable" | "timerPrecisionMs" | "timerMaxDelaySec">;
  /** Wall clock, Unix ms. */
  readonly now: () => number;
  /** Whether too many messages are due then already; absent: never. Mirrors `TimerMessageStore.isReject`. */
  readonly isReject?: (deliverMs: number) => boolean;
}

const LONG_MAX = 2 ** 63;
/** The properties that give a time; the first that is there counts. */
const TIME_PROPERTIES = [
  MessageConst.PROPERTY_TIMER_DELAY_SEC,
  MessageConst.PROPERTY_TIMER_DELAY_MS,
  MessageConst.PROPERTY_TIMER_DELIVER_MS,
] as const;

/**
 * The hook for delivery times. It comes before that for delay levels, which win over a time: the time is dropped then.
 * Mirrors `HookUtils.checkIfTimerMessage` and `transformTimerMessage`.
 */
export function timerHook(ports: TimerHookPorts): PutMessageHook {
  return (message) => {
    const { properties } = message;
    const name = TIME_PROPERTIES.find((property) => properties.has(property));
    if (name === undefined || message.topic === RMQ_SYS_TIMER_TOPIC || !isConsumable(message.sysFlag)) return message;
    // A level that is no number is refused by the next hook.
    if ((parseJavaInteger(properties.get(MessageConst.PROPERTY_DELAY_TIME_LEVEL) ?? "0") ?? 0) > 0) {
      return withoutTime(message);
    }
    if (properties.has(MessageConst.PROPERTY_TIMER_OUT_MS)) return message;
    if (!ports.config.timerWheelEnable) {
      return { status: PutMessageStatus.WHEEL_TIMER_NOT_ENABLE, remark: "timerWheelEnable is false on this broker" };
    }
    return timed(message, name, ports);
  };
}

function withoutTime(message: MessageToPut): MessageToPut {
  const properties = new Map(message.properties);
  for (const property of TIME_PROPERTIES) properties.delete(property);
  return { ...message, properties };
}

function timed(
  message: MessageToPut,
  name: (typeof TIME_PROPERTIES)[number],
  { config, now, isReject }: TimerHookPorts,
): MessageToPut | PutRefusal {
  const text = message.properties.get(name)!;
  const given = parseJavaLong(text);
  if (given === null) return illegal(`${name} is "${text.slice(0, 40)}", wanted an integer`);
  const atPresent = now();
  const deliverMs = deliverTime(name, given, atPresent);
  if (deliverMs <= atPresent) {
    if (!message.properties.has(MessageConst.PROPERTY_TIMER_DEL_UNIQKEY)) return message;
    return illegal("The message to be deleted is due already");
  }
  const { timerMaxDelaySec, timerPrecisionMs } = config;
  if (deliverMs - atPresent > timerMaxDelaySec * 1000) {
    return illegal(`Delivery is ${deliverMs - atPresent} ms ahead, wanted at most ${timerMaxDelaySec} s`);
  }
  // A slot is delivered at its end: rounding down never delivers early.
  const outMs = Math.floor((deliverMs - 1) / timerPrecisionMs) * timerPrecisionMs;
  if (isReject?.(outMs)) {
    const remark = "Too many messages are due at that time (timerCongestNumEachSlot)";
    return { status: PutMessageStatus.WHEEL_TIMER_FLOW_CONTROL, remark };
  }
  const properties = new Map(message.properties);
  properties.set(MessageConst.PROPERTY_TIMER_OUT_MS, String(outMs));
  properties.set(MessageConst.PROPERTY_REAL_TOPIC, message.topic);
  properties.set(MessageConst.PROPERTY_REAL_QUEUE_ID, String(message.queueId));
  return { ...message, topic: RMQ_SYS_TIMER_TOPIC, queueId: 0, properties };
}

function deliverTime(name: (typeof TIME_PROPERTIES)[number], given: number, now: number): number {
  if (name === MessageConst.PROPERTY_TIMER_DELAY_SEC) return now + given * 1000;
  return name === MessageConst.PROPERTY_TIMER_DELAY_MS ? now + given : given;
}

function illegal(remark: string): PutRefusal {
  return { status: PutMessageStatus.WHEEL_TIMER_MSG_ILLEGAL, remark };
}

/** A Java `long` in a text, to the nearest double; null when it is none. Mirrors `Long.parseLong`. */
export function parseJavaLong(text: string): number | null {
  if (!/^[+-]?\d{1,30}$/.test(text)) return null;
  const value = Number(text);
  return value < LONG_MAX && value >= -LONG_MAX ? value : null;
}
