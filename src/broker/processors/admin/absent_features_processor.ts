// Requests about features that this broker does not have, where Apache's answer with the feature off is an answer that
// tools can go on with: 355, 1007, 2002, 2003, 200056. What would have to do something is answered as not supported.

import { javaJsonObject } from "../../../remoting/java_json.ts";
import { createResponse } from "../../../remoting/remoting_command.ts";
import type { RequestProcessor } from "../../../remoting/remoting_server.ts";
import { RequestCode } from "../../../remoting/request_code.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";
import { answerDone, answerJson, refusal } from "./admin_request.ts";

/** Mirrors what Apache's `AdminBrokerProcessor` answers without RocksDB, controller and cold data flow control. */
export function absentFeaturesProcessors(): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    // The configuration is JSON already.
    [
      RequestCode.EXPORT_ROCKSDB_CONFIG_TO_JSON,
      (request) => createResponse(request, ResponseCode.SUCCESS, { remark: "export done." }),
    ],
    // There are no records of pop consumption to write.
    [RequestCode.POP_ROLLBACK, (request) => answerDone(request)],
    [RequestCode.GET_BROKER_EPOCH_CACHE, () => {
      throw refusal(ResponseCode.SYSTEM_ERROR, "this request only for controllerMode ");
    }],
    // There is none to remove, and none to show; the thresholds are Apache's defaults.
    [RequestCode.REMOVE_COLD_DATA_FLOW_CTR_CONFIG, (request) => answerDone(request)],
    [RequestCode.GET_COLD_DATA_FLOW_CTR_INFO, (request) =>
      answerJson(request, {
        cgColdReadThreshold: 3 * 1024 * 1024,
        configTable: javaJsonObject(),
        globalAcc: 0,
        globalColdReadThreshold: 100 * 1024 * 1024,
        runtimeTable: javaJsonObject(),
      })],
  ]);
}
