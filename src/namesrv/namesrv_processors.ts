// What the NameServer answers, by request code: clients that look for topics, mqadmin, and KV configuration. What brokers
// send is in broker_processors.ts. It translates between requests and the managers, which decide.

import { utf8 } from "../base/bytes.ts";
import { RemotingError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { printable } from "../base/printable.ts";
import { createResponse, type ExtValues, type RemotingCommand, requiredExt } from "../remoting/remoting_command.ts";
import type { RemotingConnection } from "../remoting/remoting_connection.ts";
import type { RequestProcessor } from "../remoting/remoting_server.ts";
import { RequestCode } from "../remoting/request_code.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import type { Clock } from "../runtime/runtime.ts";
import { checkedRequest } from "./broker_processors.ts";
import { type KVConfigManager, NAMESPACE_ORDER_TOPIC_CONFIG, shownKV } from "./kv_config_manager.ts";
import { encodeClusterInfo, encodeKVTable, encodeTopicList, encodeTopicRouteData } from "./route_bodies.ts";
import type { RouteInfoManager } from "./route_info_manager.ts";
import { filterByZoneName, requestedZone } from "./zone_route.ts";

/** Keys of the configuration used here; read at each use. */
export interface NamesrvProcessorsConfig {
  readonly orderMessageEnable: boolean;
  readonly enableAllTopicList: boolean;
  readonly enableTopicList: boolean;
  readonly needWaitForService: boolean;
  readonly waitSecondsForService: number;
}

/** The NameServer's settings as mqadmin sees them. The checks and the file are behind it. */
export interface NamesrvConfiguration {
  /** What is in force, as properties text. */
  text(): string;
  /**
   * Takes the settings of a properties text, all or none, and resolves once they are saved: with null, or with the name
   * of one that may not be changed over the wire. Throws `ConfigError` for a value that is none.
   */
  update(properties: Uint8Array): Promise<string | null>;
}

/** What {@link namesrvProcessors} need. */
export interface NamesrvProcessorsOptions {
  readonly config: NamesrvProcessorsConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly routes: RouteInfoManager<RemotingConnection>;
  readonly kvConfig: KVConfigManager;
  readonly configuration: NamesrvConfiguration;
}

/** Mirrors Apache's `ClientRequestProcessor` and the administrative part of its `DefaultRequestProcessor`. */
export function namesrvProcessors(options: NamesrvProcessorsOptions): Map<number, RequestProcessor> {
  return new Map([...routeProcessors(options), ...topicListProcessors(options), ...kvProcessors(options)]);
}

function routeProcessors(options: NamesrvProcessorsOptions): [number, RequestProcessor][] {
  const { routes, logger, configuration } = options;
  return [
    [RequestCode.GET_ROUTEINFO_BY_TOPIC, routeInfoByTopic(options)],
    [
      RequestCode.GET_BROKER_CLUSTER_INFO,
      (request) => done(request, { body: encodeClusterInfo(routes.getAllClusterInfo()) }),
    ],
    [RequestCode.WIPE_WRITE_PERM_OF_BROKER, (request, { remoteAddress }) => {
      const brokerName = requiredExt(request, "brokerName");
      const wipeTopicCount = routes.wipeWritePermOfBroker(brokerName);
      logger.info("Wiped the write permission of a broker", { brokerName, topics: wipeTopicCount, by: remoteAddress });
      return done(request, { ext: { wipeTopicCount } });
    }],
    [RequestCode.ADD_WRITE_PERM_OF_BROKER, (request, { remoteAddress }) => {
      const brokerName = requiredExt(request, "brokerName");
      const addTopicCount = routes.addWritePermOfBroker(brokerName);
      logger.info("Added the write permission of a broker", { brokerName, topics: addTopicCount, by: remoteAddress });
      return done(request, { ext: { addTopicCount } });
    }],
    [RequestCode.DELETE_TOPIC_IN_NAMESRV, (request, { remoteAddress }) => {
      const topic = requiredExt(request, "topic");
      const clusterName = request.extFields.get("clusterName") || null;
      routes.deleteTopic(topic, clusterName);
      logger.info("Deleted a topic's route", { topic: shown(topic), clusterName, by: remoteAddress });
      return done(request);
    }],
    [
      RequestCode.GET_NAMESRV_CONFIG,
      (request) => done(request, { body: utf8.encode(configuration.text()) }),
    ],
    [
      RequestCode.UPDATE_NAMESRV_CONFIG,
      checkedRequest(async (request, { remoteAddress }) => {
        if (request.body.length === 0) return done(request);
        const refused = await configuration.update(request.body);
        logger.info("Asked to change the NameServer's configuration", { by: remoteAddress, refused });
        if (refused === null) return done(request);
        throw new RemotingError(ResponseCode.NO_PERMISSION, `Can not update config in black list: ${shown(refused)}`);
      }),
    ],
  ];
}

function routeInfoByTopic({ config, clock, routes, kvConfig }: NamesrvProcessorsOptions): RequestProcessor {
  const startedAt = clock.monotonic();
  return (request) => {
    const { needWaitForService, waitSecondsForService } = config;
    if (needWaitForService && clock.monotonic() - startedAt < waitSecondsForService * 1000) {
      throw new RemotingError(ResponseCode.SYSTEM_ERROR, "name server not ready");
    }
    const topic = requiredExt(request, "topic");
    let route = routes.pickupTopicRouteData(topic);
    if (route === null) {
      const remark = `No topic route info in name server for the topic: ${shown(topic)}`;
      return createResponse(request, ResponseCode.TOPIC_NOT_EXIST, { remark });
    }
    const order = config.orderMessageEnable ? kvConfig.getKVConfig(NAMESPACE_ORDER_TOPIC_CONFIG, topic) : null;
    if (order !== null) route = { ...route, orderTopicConf: order };
    const zoneName = requestedZone(request.extFields);
    if (zoneName !== null) route = filterByZoneName(route, zoneName);
    return done(request, { body: encodeTopicRouteData(route) });
  };
}

function topicListProcessors({ config, routes }: NamesrvProcessorsOptions): [number, RequestProcessor][] {
  const list = (
    isEnabled: () => boolean,
    topics: (request: RemotingCommand) => readonly string[],
  ): RequestProcessor => {
    return (request) => {
      if (!isEnabled()) throw new RemotingError(ResponseCode.SYSTEM_ERROR, "disable");
      return done(request, { body: encodeTopicList(topics(request)) });
    };
  };
  const isListed = () => config.enableTopicList;
  return [
    [
      RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER,
      list(() => config.enableAllTopicList, () => routes.getAllTopicList()),
    ],
    [
      RequestCode.GET_TOPICS_BY_CLUSTER,
      list(isListed, (request) => routes.getTopicsByCluster(requiredExt(request, "cluster"))),
    ],
    [RequestCode.GET_UNIT_TOPIC_LIST, list(isListed, () => routes.getUnitTopics())],
    [RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST, list(isListed, () => routes.getHasUnitSubTopicList())],
    [RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, list(isListed, () => routes.getHasUnitSubUnUnitTopicList())],
    [RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS, (request) => {
      const { topicList, brokerAddr } = routes.getSystemTopicList();
      return done(request, { body: encodeTopicList(topicList, brokerAddr) });
    }],
  ];
}

function kvProcessors({ kvConfig, logger }: NamesrvProcessorsOptions): [number, RequestProcessor][] {
  return [
    [
      RequestCode.PUT_KV_CONFIG,
      checkedRequest(async (request, { remoteAddress }) => {
        const { namespace, key } = kvKeyOf(request);
        const value = requiredExt(request, "value");
        if (!kvConfig.putKVConfig(namespace, key, value)) {
          throw new RemotingError(ResponseCode.SYSTEM_ERROR, "KV configuration is full, wanted a shorter value");
        }
        logger.info("Put a KV configuration", { ...shownKV(namespace, key, value), by: remoteAddress });
        await kvConfig.persist();
        return done(request);
      }),
    ],
    [
      RequestCode.DELETE_KV_CONFIG,
      checkedRequest(async (request, { remoteAddress }) => {
        const { namespace, key } = kvKeyOf(request);
        const deleted = kvConfig.deleteKVConfig(namespace, key);
        logger.info("Deleted a KV configuration", { ...shownKV(namespace, key), found: deleted, by: remoteAddress });
        if (deleted) await kvConfig.persist();
        return done(request);
      }),
    ],
    [RequestCode.GET_KV_CONFIG, (request) => {
      const { namespace, key } = kvKeyOf(request);
      const value = kvConfig.getKVConfig(namespace, key);
      if (value !== null) return done(request, { ext: { value } });
      const remark = `No config item, Namespace: ${shown(namespace)} Key: ${shown(key)}`;
      return createResponse(request, ResponseCode.QUERY_NOT_FOUND, { remark });
    }],
    [RequestCode.GET_KVLIST_BY_NAMESPACE, (request) => {
      const namespace = requiredExt(request, "namespace");
      const table = kvConfig.getKVListByNamespace(namespace);
      if (table !== null) return done(request, { body: encodeKVTable(table) });
      const remark = `No config item, Namespace: ${shown(namespace)}`;
      return createResponse(request, ResponseCode.QUERY_NOT_FOUND, { remark });
    }],
  ];
}

function kvKeyOf({ extFields }: RemotingCommand): { readonly namespace: string; readonly key: string } {
  const namespace = extFields.get("namespace");
  const key = extFields.get("key");
  if (namespace !== undefined && key !== undefined) return { namespace, key };
  throw new RemotingError(ResponseCode.SYSTEM_ERROR, "namespace or key is null");
}

/** Characters of a name that an answer repeats. */
const SHOWN_MAX = 300;

function shown(text: string): string {
  return printable(text.slice(0, SHOWN_MAX));
}

function done(request: RemotingCommand, parts: { ext?: ExtValues; body?: Uint8Array } = {}): RemotingCommand {
  return createResponse(request, ResponseCode.SUCCESS, parts);
}
