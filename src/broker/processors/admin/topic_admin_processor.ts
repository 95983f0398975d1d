// Topics as administrators make, change, delete and look at them: 17, 18, 215, 351, 202, 300, 305. What a topic is belongs
// to TopicConfigManager, whose changes the NameServers hear of; here is what Apache checks before.

import { forgetTopic, type TopicKeepers } from "../../forget_topic.ts";
import { errorMessage } from "../../../base/errors.ts";
import type { Logger } from "../../../base/logger.ts";
import type { Config } from "../../../config/schema.ts";
import {
  isJavaJsonObject,
  type JavaJson,
  type JavaJsonMap,
  type JavaJsonObject,
  javaJsonObject,
} from "../../../remoting/java_json.ts";
import { type RemotingCommand, requiredExt } from "../../../remoting/remoting_command.ts";
import type { RequestContext, RequestProcessor } from "../../../remoting/remoting_server.ts";
import { RequestCode } from "../../../remoting/request_code.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";
import { readBody } from "../../client/heartbeat_data.ts";
import { messageQueueJson } from "../../client/message_queue.ts";
import { TOPIC_DEFAULTS, type TopicConfig, topicConfigJson } from "../../topic_config_manager.ts";
import { checkTopicName, isSystemTopic, SYSTEM_TOPICS } from "../../topic_validator.ts";
import {
  answerDone,
  answerJson,
  booleanExt,
  integerExt,
  optionalIntegerExt,
  refusal,
  refuseOnSlave,
} from "./admin_request.ts";
import { alterAttributes, type AttributesModification, parseAttributes } from "./topic_attributes.ts";

/** What the processor needs. */
export interface TopicAdminPorts {
  readonly config: Pick<
    Config,
    | "brokerName"
    | "validateSystemTopicWhenUpdateTopic"
    | "enableMixedMessageType"
    | "clearRetryTopicWhenDeleteTopic"
  >;
  readonly logger: Logger;
  readonly topics: {
    selectTopicConfig(topic: string): TopicConfig | null;
    updateTopicConfig(config: TopicConfig): void;
    deleteTopicConfig(topic: string): void;
    /** Resolves when the table of now is on the disk. */
    persist(): Promise<void>;
  };
  /** Names of the topics this broker made for itself at its start. */
  readonly systemTopicNames: ReadonlySet<string>;
  readonly offsets: { whichGroupByTopic(topic: string): string[]; cleanOffsetByTopic(topic: string): void };
  readonly consumers: { queryTopicConsumeByWho(topic: string): string[] };
  readonly store: {
    getMinOffsetInQueue(topic: string, queueId: number): number;
    getMaxOffsetInQueue(topic: string, queueId: number): number;
    getMessageStoreTimeStamp(topic: string, queueId: number, queueOffset: number): number;
    deleteTopics(topics: string[]): unknown;
  };
  readonly stats: { tpsTopicPutNums(topic: string): number; onTopicDeleted(topic: string): void };
  readonly timerMetrics: TopicKeepers["timerMetrics"];
  readonly isSlave: () => boolean;
  /** Resolves once the NameServers answered the registration that a change of the topics brings, or after some time. */
  readonly registered?: () => Promise<void>;
}

/** `perm` has four bits. */
const PERM_MAX = 15;
const FILTER_TYPES = ["SINGLE_TAG", "MULTI_TAG"];
/** Topics of one request. */
const TOPICS_MAX = 10_000;

/** Mirrors the topics' part of Apache's `AdminBrokerProcessor`. */
export function topicAdminProcessors(ports: TopicAdminPorts): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.UPDATE_AND_CREATE_TOPIC, (request, context) => updateAndCreateTopic(ports, request, context)],
    [RequestCode.UPDATE_AND_CREATE_TOPIC_LIST, (request, context) => updateAndCreateTopicList(ports, request, context)],
    [RequestCode.DELETE_TOPIC_IN_BROKER, (request, context) => deleteTopic(ports, request, context)],
    [RequestCode.GET_TOPIC_CONFIG, (request) => getTopicConfig(ports, request)],
    [RequestCode.GET_TOPIC_STATS_INFO, (request) => getTopicStatsInfo(ports, request)],
    [RequestCode.QUERY_TOPIC_CONSUME_BY_WHO, (request) => queryTopicConsumeByWho(ports, request)],
    [
      RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_BROKER,
      (request) => answerJson(request, { topicList: [...new Set([...SYSTEM_TOPICS, ...ports.systemTopicNames])] }),
    ],
  ]);
}

/** A topic as an administrator wants it. */
interface WantedTopic extends Omit<TopicConfig, "attributes"> {
  readonly modification: AttributesModification;
}

async function updateAndCreateTopic(
  ports: TopicAdminPorts,
  request: RemotingCommand,
  context: RequestContext,
): Promise<RemotingCommand> {
  const wanted: WantedTopic = {
    topicName: requiredExt(request, "topic"),
    readQueueNums: integerExt(request, "readQueueNums"),
    writeQueueNums: integerExt(request, "writeQueueNums"),
    perm: integerExt(request, "perm"),
    topicFilterType: requiredExt(request, "topicFilterType"),
    topicSysFlag: optionalIntegerExt(request, "topicSysFlag") ?? 0,
    order: booleanExt(request, "order", false),
    modification: new Map(),
  };
  checkWanted(ports, wanted);
  const modification = parseAttributes(request.extFields.get("attributes"));
  await change(ports, [{ ...wanted, modification }], context);
  return answerDone(request);
}

/** All of them or none: each is checked before the first is made. (Apache stops at one that is as it should be.) */
async function updateAndCreateTopicList(
  ports: TopicAdminPorts,
  request: RemotingCommand,
  context: RequestContext,
): Promise<RemotingCommand> {
  const { topicConfigList } = readBody(request.body);
  const list = Array.isArray(topicConfigList) ? topicConfigList : [];
  if (list.length > TOPICS_MAX) {
    throw refusal(ResponseCode.SYSTEM_ERROR, `Body has ${list.length} topics, wanted at most ${TOPICS_MAX}`);
  }
  const wanted = list.map(readWanted);
  for (const one of wanted) checkWanted(ports, one);
  await change(ports, wanted, context);
  return answerDone(request);
}

function readWanted(json: JavaJson): WantedTopic {
  if (!isJavaJsonObject(json)) throw refusal(ResponseCode.SYSTEM_ERROR, "Body has a topic that is no JSON object");
  const { topicName, attributes } = json;
  const number = (key: string, fallback: number) => {
    const value = json[key];
    const given = typeof value === "string" && /^-?\d{1,10}$/.test(value) ? Number(value) : value ?? fallback;
    if (typeof given === "number" && Number.isSafeInteger(given)) return given;
    throw refusal(ResponseCode.SYSTEM_ERROR, `Body has a topic whose "${key}" is no whole number`);
  };
  const texts = isJavaJsonObject(attributes) ? Object.entries(attributes) : [];
  return {
    topicName: typeof topicName === "string" ? topicName : "",
    // Apache's own defaults of the class, as for any JSON.
    readQueueNums: number("readQueueNums", 16),
    writeQueueNums: number("writeQueueNums", 16),
    perm: number("perm", TOPIC_DEFAULTS.perm),
    topicFilterType: typeof json.topicFilterType === "string" ? json.topicFilterType : "SINGLE_TAG",
    topicSysFlag: number("topicSysFlag", 0),
    order: json.order === true || json.order === "true",
    modification: new Map(texts.map(([key, value]) => [key, String(value ?? "")])),
  };
}

function checkWanted(ports: TopicAdminPorts, { topicName, perm, topicFilterType }: WantedTopic): void {
  refuseOnSlave(ports.isSlave());
  checkTopicName(topicName);
  checkNoSystemTopic(ports, topicName);
  if (perm < 0 || perm > PERM_MAX) {
    throw refusal(ResponseCode.INVALID_PARAMETER, `perm is ${perm}, wanted 0 to ${PERM_MAX}`);
  }
  if (!FILTER_TYPES.includes(topicFilterType)) {
    throw refusal(ResponseCode.SYSTEM_ERROR, `topicFilterType is none of ${FILTER_TYPES.join(", ")}`);
  }
}

function checkNoSystemTopic({ config, systemTopicNames }: TopicAdminPorts, topic: string): void {
  if (!config.validateSystemTopicWhenUpdateTopic) return;
  if (!isSystemTopic(topic) && !systemTopicNames.has(topic)) return;
  throw refusal(ResponseCode.INVALID_PARAMETER, `The topic[${topic}] is conflict with system topic.`);
}

/** Nothing changes unless every topic can be what is wanted. */
async function change(ports: TopicAdminPorts, wanted: readonly WantedTopic[], context: RequestContext): Promise<void> {
  const { config, logger, topics } = ports;
  const changed: TopicConfig[] = [];
  for (const { modification, ...rest } of wanted) {
    const before = topics.selectTopicConfig(rest.topicName);
    if (!config.enableMixedMessageType && modification.get("+message.type") === "MIXED") {
      throw refusal(ResponseCode.INVALID_PARAMETER, "MIXED message type is not supported.");
    }
    const next = { ...rest, attributes: alterAttributes(before?.attributes ?? null, modification) };
    if (before === null || !isSame(before, next)) changed.push(next);
  }
  if (changed.length === 0) return;
  for (const next of changed) {
    topics.updateTopicConfig(next);
    logger.info("A topic was made or changed", { topic: next.topicName, by: context.remoteAddress });
  }
  await saved(ports);
}

function isSame(a: TopicConfig, b: TopicConfig): boolean {
  return JSON.stringify(sorted(topicConfigJson(a))) === JSON.stringify(sorted(topicConfigJson(b)));
}

function sorted(config: JavaJsonObject): JavaJsonObject {
  const attributes = Object.entries(config.attributes as JavaJsonObject).sort(([a], [b]) => a < b ? -1 : 1);
  return javaJsonObject({ ...config, attributes: javaJsonObject(Object.fromEntries(attributes)) });
}

/** Whoever is answered may count on the file and, as far as they answer, on the NameServers. */
async function saved({ topics, registered }: TopicAdminPorts): Promise<void> {
  try {
    await Promise.all([topics.persist(), registered?.()]);
  } catch (error) {
    throw refusal(ResponseCode.SYSTEM_ERROR, `Changed, but not saved: ${errorMessage(error)}`);
  }
}

async function deleteTopic(
  ports: TopicAdminPorts,
  request: RemotingCommand,
  context: RequestContext,
): Promise<RemotingCommand> {
  const { config, logger, topics, offsets, store } = ports;
  const topic = requiredExt(request, "topic");
  refuseOnSlave(ports.isSlave());
  if (topic.trim() === "") throw refusal(ResponseCode.INVALID_PARAMETER, "The specified topic is blank.");
  checkNoSystemTopic(ports, topic);
  const gone = [topic];
  if (config.clearRetryTopicWhenDeleteTopic) {
    for (const group of offsets.whichGroupByTopic(topic)) {
      const popRetryTopics = [`%RETRY%${group}+${topic}`, `%RETRY%${group}_${topic}`];
      gone.push(...popRetryTopics.filter((name) => topics.selectTopicConfig(name) !== null));
    }
  }
  for (const name of gone) forgetTopic(ports, name);
  await store.deleteTopics(gone);
  logger.info("Topics were deleted", { topics: gone.join(" "), by: context.remoteAddress });
  await saved(ports);
  return answerDone(request);
}

function getTopicConfig({ topics }: TopicAdminPorts, request: RemotingCommand): RemotingCommand {
  const topic = requiredExt(request, "topic");
  const config = topics.selectTopicConfig(topic);
  if (config === null) {
    throw refusal(ResponseCode.TOPIC_NOT_EXIST, `No topic in this broker. topic: ${topic}`);
  }
  return answerJson(request, topicConfigJson(config));
}

function getTopicStatsInfo(ports: TopicAdminPorts, request: RemotingCommand): RemotingCommand {
  const { config, topics, store, stats } = ports;
  const topic = requiredExt(request, "topic");
  const topicConfig = topics.selectTopicConfig(topic);
  if (topicConfig === null) throw refusal(ResponseCode.TOPIC_NOT_EXIST, `topic[${topic}] not exist`);
  const offsetTable: JavaJsonMap = new Map();
  const queueNums = Math.max(topicConfig.writeQueueNums, topicConfig.readQueueNums);
  for (let queueId = 0; queueId < queueNums; queueId++) {
    const maxOffset = store.getMaxOffsetInQueue(topic, queueId);
    const lastUpdateTimestamp = maxOffset > 0 ? store.getMessageStoreTimeStamp(topic, queueId, maxOffset - 1) : 0;
    const minOffset = store.getMinOffsetInQueue(topic, queueId);
    offsetTable.set(
      messageQueueJson({ topic, brokerName: config.brokerName, queueId }),
      javaJsonObject({ lastUpdateTimestamp, maxOffset, minOffset }),
    );
  }
  return answerJson(request, { offsetTable, topicPutTps: stats.tpsTopicPutNums(topic) });
}

/** Groups with live members or with offsets. (Apache names the topic itself among the former.) */
function queryTopicConsumeByWho({ consumers, offsets }: TopicAdminPorts, request: RemotingCommand): RemotingCommand {
  const topic = requiredExt(request, "topic");
  const groupList = [...new Set([...consumers.queryTopicConsumeByWho(topic), ...offsets.whichGroupByTopic(topic)])];
  return answerJson(request, { groupList });
}
