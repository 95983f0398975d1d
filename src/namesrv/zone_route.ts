// The route of a client that wants the brokers of its own zone: those of other zones are left out, unless they have no
// master, as then what they hold is to be had from a slave wherever it is. Pure.

import { MASTER_ID, type TopicRouteData } from "./route_types.ts";

/** Which zone a request asks for; null: any. Mirrors the conditions of Apache's `ZoneRouteRPCHook`. */
export function requestedZone(extFields: ReadonlyMap<string, string>): string | null {
  if (extFields.get("__ZONE_MODE")?.toLowerCase() !== "true") return null;
  const zoneName = extFields.get("__ZONE_NAME") ?? "";
  return zoneName.trim() === "" ? null : zoneName;
}

/** The route without the brokers of other zones. Mirrors `ZoneRouteRPCHook.filterByZoneName`. */
export function filterByZoneName(route: TopicRouteData, zoneName: string): TopicRouteData {
  const left = (other: { brokerAddrs: Readonly<Record<string, string>>; zoneName?: string }) =>
    other.brokerAddrs[MASTER_ID] === undefined || other.zoneName?.toLowerCase() === zoneName.toLowerCase();
  const removed = route.brokerDatas.filter((data) => !left(data));
  const names = new Set(removed.map(({ brokerName }) => brokerName));
  const filterServerTable = Object.assign(Object.create(null), route.filterServerTable);
  for (const { brokerAddrs } of removed) {
    for (const address of Object.values(brokerAddrs)) delete filterServerTable[address];
  }
  return {
    ...route,
    brokerDatas: route.brokerDatas.filter(left),
    filterServerTable,
    queueDatas: route.queueDatas.filter(({ brokerName }) => !names.has(brokerName)),
  };
}
