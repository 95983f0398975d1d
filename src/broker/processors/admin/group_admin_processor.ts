// Consumer groups as administrators make, change, delete and look at them: 200, 225, 207, 352, 353. What a group is belongs
// to SubscriptionGroupManager.

import { errorMessage } from "../../../base/errors.ts";
import type { Logger } from "../../../base/logger.ts";
import { isJavaJsonObject, type JavaJson, type JavaJsonObject } from "../../../remoting/java_json.ts";
import { type RemotingCommand, requiredExt } from "../../../remoting/remoting_command.ts";
import type { RequestContext, RequestProcessor } from "../../../remoting/remoting_server.ts";
import { RequestCode } from "../../../remoting/request_code.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";
import { readBody } from "../../client/heartbeat_data.ts";
import { answerDone, answerJson, booleanExt, refusal, refuseOnSlave } from "./admin_request.ts";

/** What the processor needs. */
export interface GroupAdminPorts {
  readonly logger: Logger;
  readonly groups: {
    /** Group name to its configuration. */
    readonly subscriptionGroupTable: JavaJson;
    /** Makes the group when it may be; null when it may not. */
    findSubscriptionGroupConfig(group: string): object | null;
    updateSubscriptionGroupConfig(json: JavaJsonObject): void;
    deleteSubscriptionGroupConfig(group: string): void;
    getForbidden(group: string, topic: string): number;
    updateForbidden(group: string, topic: string, bitIndex: number, on: boolean): void;
    persist(): Promise<void>;
  };
  readonly offsets: { removeGroup(group: string): void };
  readonly stats: { onGroupDeleted(group: string): void };
  readonly isSlave: () => boolean;
}

/** Bit of the right to pull in a group's forbidden topics. Apache's `PermName.INDEX_PERM_READ`. */
const INDEX_PERM_READ = 2;
/** Groups of one request. */
const GROUPS_MAX = 10_000;

/** Mirrors the groups' part of Apache's `AdminBrokerProcessor`. */
export function groupAdminProcessors(ports: GroupAdminPorts): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, (request, context) => updateGroup(ports, request, context)],
    [RequestCode.UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST, (request, context) => updateList(ports, request, context)],
    [RequestCode.DELETE_SUBSCRIPTIONGROUP, (request, context) => deleteGroup(ports, request, context)],
    [RequestCode.GET_SUBSCRIPTIONGROUP_CONFIG, (request) => getGroup(ports, request)],
    [RequestCode.UPDATE_AND_GET_GROUP_FORBIDDEN, (request) => updateForbidden(ports, request)],
  ]);
}

async function updateGroup(
  ports: GroupAdminPorts,
  request: RemotingCommand,
  context: RequestContext,
): Promise<RemotingCommand> {
  refuseOnSlave(ports.isSlave());
  update(ports, readBody(request.body), context);
  await saved(ports);
  return answerDone(request);
}

async function updateList(
  ports: GroupAdminPorts,
  request: RemotingCommand,
  context: RequestContext,
): Promise<RemotingCommand> {
  refuseOnSlave(ports.isSlave());
  const { groupConfigList } = readBody(request.body);
  const list = Array.isArray(groupConfigList) ? groupConfigList : [];
  if (list.length > GROUPS_MAX) {
    throw refusal(ResponseCode.SYSTEM_ERROR, `Body has ${list.length} groups, wanted at most ${GROUPS_MAX}`);
  }
  for (const json of list) {
    if (!isJavaJsonObject(json)) throw refusal(ResponseCode.SYSTEM_ERROR, "Body has a group that is no JSON object");
    update(ports, json, context);
  }
  await saved(ports);
  return answerDone(request);
}

function update({ groups, logger }: GroupAdminPorts, json: JavaJsonObject, { remoteAddress }: RequestContext): void {
  groups.updateSubscriptionGroupConfig(json);
  logger.info("A consumer group was made or changed", { group: String(json.groupName), by: remoteAddress });
}

async function deleteGroup(
  ports: GroupAdminPorts,
  request: RemotingCommand,
  { remoteAddress }: RequestContext,
): Promise<RemotingCommand> {
  const { groups, offsets, stats, logger } = ports;
  refuseOnSlave(ports.isSlave());
  const group = requiredExt(request, "groupName");
  groups.deleteSubscriptionGroupConfig(group);
  if (booleanExt(request, "cleanOffset", false)) offsets.removeGroup(group);
  stats.onGroupDeleted(group);
  logger.info("A consumer group was deleted", { group, by: remoteAddress });
  await saved(ports);
  return answerDone(request);
}

/** Like Apache's it makes the group when it may be: a proxy asks before its consumer comes, and goes by the answer. */
function getGroup({ groups }: GroupAdminPorts, request: RemotingCommand): RemotingCommand {
  const group = requiredExt(request, "group");
  const table = groups.findSubscriptionGroupConfig(group) === null ? null : groups.subscriptionGroupTable;
  const json = isJavaJsonObject(table ?? undefined) ? (table as JavaJsonObject)[group] : undefined;
  if (!isJavaJsonObject(json)) {
    throw refusal(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "No group in this broker");
  }
  return answerJson(request, json);
}

function updateForbidden(ports: GroupAdminPorts, request: RemotingCommand): RemotingCommand {
  const { groups } = ports;
  const group = requiredExt(request, "group");
  const topic = requiredExt(request, "topic");
  if (request.extFields.has("readable")) {
    refuseOnSlave(ports.isSlave());
    groups.updateForbidden(group, topic, INDEX_PERM_READ, !booleanExt(request, "readable", true));
  }
  const readable = (groups.getForbidden(group, topic) & (1 << INDEX_PERM_READ)) === 0;
  return answerJson(request, { group, readable, topic });
}

async function saved({ groups }: GroupAdminPorts): Promise<void> {
  try {
    await groups.persist();
  } catch (error) {
    throw refusal(ResponseCode.SYSTEM_ERROR, `Changed, but not saved: ${errorMessage(error)}`);
  }
}
