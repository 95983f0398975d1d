// CHECK_CLIENT_CONFIG (46): a consumer asks, before it starts, whether the broker can filter by its subscription.

import { utf8 } from "../../base/bytes.ts";
import { ProtocolError, RemotingError } from "../../base/errors.ts";
import { quoted } from "../../base/printable.ts";
import type { Config } from "../../config/schema.ts";
import { isJavaJsonObject, type JavaJson, parseJavaJson } from "../../remoting/java_json.ts";
import { createResponse, type RemotingCommand } from "../../remoting/remoting_command.ts";
import type { RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import { ExpressionType, isTagType, readSubscriptionData } from "./subscription_data.ts";

/** What the processor needs. */
export interface FilterPorts {
  readonly config: Pick<Config, "enablePropertyFilter">;
  /** Throws `RemotingError` `SUBSCRIPTION_PARSE_FAILED` for what is no condition. */
  readonly filters: { compile(expression: string): unknown };
}

/** The processor of request 46. Mirrors `ClientManageProcessor.checkClientConfig`. */
export function filterProcessors(ports: FilterPorts): Map<number, RequestProcessor> {
  return new Map([[RequestCode.CHECK_CLIENT_CONFIG, (request) => checkClientConfig(ports, request)]]);
}

function checkClientConfig({ config, filters }: FilterPorts, request: RemotingCommand): RemotingCommand {
  const json = subscriptionJson(request.body);
  if (json === null) return createResponse(request, ResponseCode.SUCCESS);
  const { expressionType, subString } = readSubscriptionData(json);
  if (!isTagType(expressionType)) {
    if (!config.enablePropertyFilter) {
      const remark = `The broker does not support consumer to filter message by ${expressionType}`;
      return createResponse(request, ResponseCode.SYSTEM_ERROR, { remark });
    }
    if (expressionType !== ExpressionType.SQL92) {
      throw new RemotingError(
        ResponseCode.SUBSCRIPTION_PARSE_FAILED,
        `Expression is of type ${quoted(expressionType, 40)}, wanted TAG or SQL92`,
      );
    }
    filters.compile(subString);
  }
  return createResponse(request, ResponseCode.SUCCESS);
}

/** null: the request asks about nothing. */
function subscriptionJson(body: Uint8Array): JavaJson {
  if (body.length === 0) return null;
  try {
    const json = parseJavaJson(utf8.decode(body));
    return isJavaJsonObject(json) ? json.subscriptionData ?? null : null;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, `Body can't be read: ${error.message}`);
  }
}
