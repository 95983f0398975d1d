// Bodies that the NameServer answers with. All standard JSON with quoted keys, which every Java client takes, whatever
// version it says it is. Pure.

import { utf8 } from "../base/bytes.ts";
import type { ClusterInfo, DataVersion, TopicRouteData } from "./route_types.ts";

/** Apache's `TopicRouteData`. */
export function encodeTopicRouteData(route: TopicRouteData): Uint8Array {
  const { brokerDatas, filterServerTable, orderTopicConf, queueDatas, topicQueueMappingByBroker } = route;
  return encode({ brokerDatas, filterServerTable, orderTopicConf, queueDatas, topicQueueMappingByBroker });
}

/** Apache's `ClusterInfo`. */
export function encodeClusterInfo({ brokerAddrTable, clusterAddrTable }: ClusterInfo): Uint8Array {
  return encode({ brokerAddrTable, clusterAddrTable });
}

/** Apache's `TopicList`; of brokerAddr only when there is one. */
export function encodeTopicList(topicList: readonly string[], brokerAddr?: string | null): Uint8Array {
  return encode({ brokerAddr: brokerAddr ?? undefined, topicList });
}

/** Apache's `KVTable`. */
export function encodeKVTable(table: ReadonlyMap<string, string>): Uint8Array {
  const record: Record<string, string> = Object.create(null);
  for (const [key, value] of table) record[key] = value;
  return encode({ table: record });
}

/** Apache's `GetBrokerMemberGroupResponseBody`. */
export function encodeBrokerMemberGroup(
  cluster: string,
  brokerName: string,
  brokerAddrs: Readonly<Record<string, string>>,
): Uint8Array {
  return encode({ brokerMemberGroup: { brokerAddrs, brokerName, cluster } });
}

/** Apache's `DataVersion`. */
export function encodeDataVersion({ counter, stateVersion, timestamp }: DataVersion): Uint8Array {
  return encode({ counter, stateVersion, timestamp });
}

/** Members that are undefined are left out. */
function encode(value: unknown): Uint8Array {
  return utf8.encode(JSON.stringify(value));
}
