// What a master answers to its slaves' SlaveSynchronize: topics (21), consumer offsets (43), delay offsets (45), groups
// (201), consume modes (402) and the timer's progress (60, 61). Served on both ports.

import { utf8 } from "../../base/bytes.ts";
import { isJavaJsonObject, javaJsonObject, WIRE_FORMAT, writeJavaJson } from "../../remoting/java_json.ts";
import type { JavaJsonObject } from "../../remoting/java_json.ts";
import { createResponse, type RemotingCommand } from "../../remoting/remoting_command.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import { type ConfigManager, dataVersionJson } from "../config_manager.ts";
import type { RequestProcessor } from "../../remoting/remoting_server.ts";
import type { DelayOffsetManager } from "../schedule/delay_offset_manager.ts";
import type { ConfigManagers } from "../config_managers.ts";
import type { TimerMetrics } from "../timer/timer_metrics.ts";

/** fastjson's compact form, integer keys bare. */
const JAVA_FORMAT = { pretty: false, quoteIntegerKeys: false };

/** The processors by code. */
export function slaveSyncProcessors(
  options: { managers: ConfigManagers; timer: { checkpointForSlaves(): Uint8Array }; timerMetrics: TimerMetrics },
): Map<number, RequestProcessor> {
  const { managers, timer, timerMetrics } = options;
  const { topicConfigManager, subscriptionGroupManager } = managers;
  return new Map<number, RequestProcessor>([
    [RequestCode.GET_ALL_TOPIC_CONFIG, (request) =>
      answer(request, {
        dataVersion: versionOf(topicConfigManager),
        mappingDataVersion: dataVersionJson({ stateVersion: 0, timestamp: 0, counter: 0 }),
        topicConfigTable: topicConfigManager.topicConfigTable,
        topicQueueMappingDetailMap: javaJsonObject(),
        topicQueueMappingInfoMap: javaJsonObject(),
      })],
    [RequestCode.GET_ALL_CONSUMER_OFFSET, (request) => {
      const body = utf8.encode(managers.consumerOffsetManager.encodeForSlaves());
      return createResponse(request, ResponseCode.SUCCESS, { body });
    }],
    // An Apache slave writes this text to its delayOffset.json as it comes, so it gets Java's own form.
    [
      RequestCode.GET_ALL_DELAY_OFFSET,
      (request) => answer(request, delayOffsets(managers.delayOffsetManager), JAVA_FORMAT),
    ],
    [RequestCode.GET_ALL_SUBSCRIPTIONGROUP_CONFIG, (request) =>
      answer(request, {
        ...subscriptionGroupManager.document,
        dataVersion: versionOf(subscriptionGroupManager),
        forbiddenTable: subscriptionGroupManager.table("forbiddenTable"),
        subscriptionGroupTable: subscriptionGroupManager.subscriptionGroupTable,
      })],
    [
      RequestCode.GET_ALL_MESSAGE_REQUEST_MODE,
      (request) =>
        answer(request, { messageRequestModeMap: managers.messageRequestModeManager.table("messageRequestModeMap") }),
    ],
    [
      RequestCode.GET_TIMER_CHECK_POINT,
      (request) => createResponse(request, ResponseCode.SUCCESS, { body: timer.checkpointForSlaves() }),
    ],
    [RequestCode.GET_TIMER_METRICS, (request) =>
      answer(request, {
        ...timerMetrics.document,
        dataVersion: versionOf(timerMetrics),
        timingCount: timerMetrics.table("timingCount"),
      })],
  ]);
}

function delayOffsets(manager: DelayOffsetManager): JavaJsonObject {
  const document = javaJsonObject(manager.documentForSlaves());
  document.dataVersion ??= dataVersionJson(manager.dataVersion);
  document.offsetTable ??= javaJsonObject();
  return document;
}

function versionOf(manager: ConfigManager): JavaJsonObject {
  const inFile = manager.document.dataVersion;
  return isJavaJsonObject(inFile) ? inFile : dataVersionJson(manager.dataVersion);
}

function answer(request: RemotingCommand, members: JavaJsonObject, format = WIRE_FORMAT): RemotingCommand {
  const body = utf8.encode(writeJavaJson(members, format));
  return createResponse(request, ResponseCode.SUCCESS, { body });
}
