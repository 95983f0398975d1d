// What a master answers to its slaves' SlaveSynchronize: topics (21), consumer offsets (43), delay offsets (45), groups
// (201), consume modes (402) and the timer's files (60, 61), from what config/ holds. Served on both ports.

import { utf8 } from "../../base/bytes.ts";
import { ProtocolError, RemotingError } from "../../base/errors.ts";
import {
  isJavaJsonObject,
  javaJsonObject,
  parseJavaJson,
  WIRE_FORMAT,
  writeJavaJson,
} from "../../remoting/java_json.ts";
import type { JavaJsonObject } from "../../remoting/java_json.ts";
import { createResponse, type RemotingCommand } from "../../remoting/remoting_command.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { FileSystem } from "../../runtime/runtime.ts";
import { type ConfigManager, dataVersionJson } from "../config_manager.ts";
import type { RequestProcessor } from "../../remoting/remoting_server.ts";
import type { DelayOffsetManager } from "../schedule/delay_offset_manager.ts";
import type { ConfigManagers } from "../slave_synchronize.ts";

/** Bytes of `config/timercheck` that mean something: seven 64-bit integers. */
const TIMER_CHECK_POINT_SIZE = 56;

/** fastjson's compact form, integer keys bare. */
const JAVA_FORMAT = { pretty: false, quoteIntegerKeys: false };

/** The processors by code. `directory` is `<storePathRootDir>/config`. */
export function slaveSyncProcessors(
  options: { managers: ConfigManagers; fs: FileSystem; directory: string },
): Map<number, RequestProcessor> {
  const { managers, fs, directory } = options;
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
    [RequestCode.GET_TIMER_CHECK_POINT, (request) => {
      const bytes = fs.readFile(`${directory}/timercheck`);
      if (bytes === null || bytes.length < TIMER_CHECK_POINT_SIZE) {
        throw new RemotingError(ResponseCode.SYSTEM_ERROR, "This broker holds no timer checkpoint");
      }
      return createResponse(request, ResponseCode.SUCCESS, { body: bytes.slice(0, TIMER_CHECK_POINT_SIZE) });
    }],
    [RequestCode.GET_TIMER_METRICS, (request) => answer(request, timerMetrics(fs, `${directory}/timermetrics`))],
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

function timerMetrics(fs: FileSystem, path: string): JavaJsonObject {
  for (const candidate of [path, `${path}.bak`]) {
    const bytes = fs.readFile(candidate);
    if (bytes === null) continue;
    try {
      const document = parseJavaJson(utf8.decode(bytes));
      if (isJavaJsonObject(document)) return document;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
    }
  }
  throw new RemotingError(ResponseCode.SYSTEM_ERROR, "This broker holds no timer metrics");
}

function answer(request: RemotingCommand, members: JavaJsonObject, format = WIRE_FORMAT): RemotingCommand {
  const body = utf8.encode(writeJavaJson(members, format));
  return createResponse(request, ResponseCode.SUCCESS, { body });
}
