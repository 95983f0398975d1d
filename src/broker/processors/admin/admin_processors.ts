// Every request of administrators, mqadmin's and exporters', by code; each subject has a file beside this one.

import type { RequestProcessor } from "../../../remoting/remoting_server.ts";
import { absentFeaturesProcessors } from "./absent_features_processor.ts";
import { type ConfigAdminPorts, configAdminProcessors } from "./config_admin_processor.ts";
import { type ConsumeStatsPorts, consumeStatsProcessors } from "./consume_stats_processor.ts";
import { type ConsumerAdminPorts, consumerAdminProcessors } from "./consumer_admin_processor.ts";
import { type GroupAdminPorts, groupAdminProcessors } from "./group_admin_processor.ts";
import { type OffsetAdminPorts, offsetAdminProcessors } from "./offset_admin_processor.ts";
import { type StoreAdminPorts, storeAdminProcessors } from "./store_admin_processor.ts";
import { type TopicAdminPorts, topicAdminProcessors } from "./topic_admin_processor.ts";

/** Everything they need. */
export type AdminPorts =
  & TopicAdminPorts
  & GroupAdminPorts
  & OffsetAdminPorts
  & ConsumeStatsPorts
  & ConsumerAdminPorts
  & ConfigAdminPorts
  & StoreAdminPorts;

/** The processors by code. Mirrors Apache's `AdminBrokerProcessor`. */
export function adminProcessors(ports: AdminPorts): Map<number, RequestProcessor> {
  return new Map([
    ...topicAdminProcessors(ports),
    ...groupAdminProcessors(ports),
    ...offsetAdminProcessors(ports),
    ...consumeStatsProcessors(ports),
    ...consumerAdminProcessors(ports),
    ...configAdminProcessors(ports),
    ...storeAdminProcessors(ports),
    ...absentFeaturesProcessors(),
  ]);
}
