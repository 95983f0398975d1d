// What the processors of administrators' requests share: reading header fields, and answers with a JSON body. Pure.

import { utf8 } from "../../../base/bytes.ts";
import { RemotingError } from "../../../base/errors.ts";
import { quoted } from "../../../base/printable.ts";
import {
  type JavaJson,
  type JavaJsonObject,
  javaJsonObject,
  WIRE_FORMAT,
  writeJavaJson,
} from "../../../remoting/java_json.ts";
import { createResponse, type RemotingCommand, requiredExt } from "../../../remoting/remoting_command.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";
import type { ClientChannelInfo } from "../../client/client_channel_info.ts";
import type { SubscriptionData } from "../../filter/subscription_data.ts";

/** SUCCESS with these members as the body. Members that are `undefined` are left out, as fastjson leaves nulls out. */
export function answerJson(
  request: RemotingCommand,
  members: Readonly<Record<string, JavaJson | undefined>>,
): RemotingCommand {
  const body = javaJsonObject();
  for (const [key, value] of Object.entries(members)) if (value !== undefined) body[key] = value;
  return createResponse(request, ResponseCode.SUCCESS, { body: utf8.encode(writeJavaJson(body, WIRE_FORMAT)) });
}

/** SUCCESS and nothing else. */
export function answerDone(request: RemotingCommand): RemotingCommand {
  return createResponse(request, ResponseCode.SUCCESS);
}

/** A refusal; the code's remark is a sentence for whoever administers. */
export function refusal(code: number, remark: string): RemotingError {
  return new RemotingError(code, remark);
}

/** A whole number of the header. Throws {@link RemotingError} `SYSTEM_ERROR` when it is missing or something else. */
export function integerExt(request: RemotingCommand, key: string): number {
  requiredExt(request, key);
  return optionalIntegerExt(request, key)!;
}

/** Likewise; null when it is missing. */
export function optionalIntegerExt(request: RemotingCommand, key: string): number | null {
  const text = request.extFields.get(key);
  if (text === undefined) return null;
  const value = Number(text);
  if (/^[+-]?\d{1,19}$/.test(text) && Number.isSafeInteger(value)) return value;
  throw refusal(ResponseCode.SYSTEM_ERROR, `Ext field "${key}" is ${quoted(text, 40)}, wanted a whole number`);
}

/** A flag of the header, as Java's `Boolean.parseBoolean` reads it; `fallback` when it is missing. */
export function booleanExt(request: RemotingCommand, key: string, fallback: boolean): boolean {
  const text = request.extFields.get(key);
  return text === undefined ? fallback : text.toLowerCase() === "true";
}

/** Text of the header; null when it is missing or blank. */
export function textExt(request: RemotingCommand, key: string): string | null {
  const text = request.extFields.get(key);
  return text === undefined || text.trim() === "" ? null : text;
}

/** Mirrors Apache's `Connection`. */
export function connectionJson({ clientId, connection, language, version }: ClientChannelInfo): JavaJsonObject {
  return javaJsonObject({ clientAddr: connection.remoteAddress, clientId, language, version });
}

/** A subscription as fastjson writes it. */
export function subscriptionDataJson(data: SubscriptionData): JavaJsonObject {
  return javaJsonObject({
    classFilterMode: data.classFilterMode,
    codeSet: [...data.codeSet],
    expressionType: data.expressionType,
    subString: data.subString,
    subVersion: data.subVersion,
    tagsSet: [...data.tagsSet],
    topic: data.topic,
  });
}

/** Says why tables can't be changed here, if so: those of a slave are its master's, the next copy would undo it. */
export function refuseOnSlave(isSlave: boolean): void {
  if (!isSlave) return;
  throw refusal(
    ResponseCode.SYSTEM_ERROR,
    "Can't modify topic or subscription group from slave broker, please execute it from master broker.",
  );
}
