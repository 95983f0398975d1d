// What brokers send to the NameServer: registrations, signs of life, goodbyes, questions for their group. It reads the
// requests and hands them to the RouteInfoManager, which decides.

import { crc32 } from "node:zlib";
import { ConfigError, IoError, ProtocolError, RemotingError } from "../base/errors.ts";
import { LineLimiter } from "../base/line_limiter.ts";
import type { LogFields, Logger } from "../base/logger.ts";
import { quoted } from "../base/printable.ts";
import { parseRemotingAddress } from "../remoting/remoting_address.ts";
import { createResponse, type RemotingCommand, requiredExt } from "../remoting/remoting_command.ts";
import type { RemotingConnection } from "../remoting/remoting_connection.ts";
import type { RequestProcessor } from "../remoting/remoting_server.ts";
import { RequestCode } from "../remoting/request_code.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import type { Clock } from "../runtime/runtime.ts";
import { type KVConfigManager, NAMESPACE_ORDER_TOPIC_CONFIG } from "./kv_config_manager.ts";
import {
  checkedLong,
  checkedName,
  decodeDataVersion,
  decodeQueueDatas,
  decodeRegisterBrokerBody,
} from "./register_broker_body.ts";
import { encodeBrokerMemberGroup, encodeDataVersion, encodeKVTable } from "./route_bodies.ts";
import type { RouteInfoManager } from "./route_info_manager.ts";
import type { BrokerAddrInfo, BrokerRegistration } from "./route_types.ts";

/** What {@link brokerProcessors} need. */
export interface BrokerProcessorsOptions {
  /** Read at each use. */
  readonly config: { readonly returnOrderTopicConfigToBroker: boolean };
  readonly clock: Clock;
  readonly logger: Logger;
  readonly routes: RouteInfoManager<RemotingConnection>;
  readonly kvConfig: KVConfigManager;
  /** Told of each registration: when the broker is gone unless it is heard again, in monotonic ms. */
  readonly onRegistered: (expiresAt: number) => void;
}

/** Mirrors the part of Apache's `DefaultRequestProcessor` that brokers use. */
export function brokerProcessors(options: BrokerProcessorsOptions): Map<number, RequestProcessor> {
  const { clock, routes, logger } = options;
  const heard = (request: RemotingCommand): BrokerAddrInfo => {
    const broker = {
      clusterName: requiredExt(request, "clusterName"),
      brokerAddr: requiredExt(request, "brokerAddr"),
    };
    routes.updateBrokerInfoUpdateTimestamp(broker, clock.monotonic());
    return broker;
  };
  return new Map<number, RequestProcessor>([
    [RequestCode.REGISTER_BROKER, registerBroker(options)],
    [RequestCode.UNREGISTER_BROKER, (request, { remoteAddress }) => {
      const clusterName = requiredExt(request, "clusterName");
      const brokerAddr = requiredExt(request, "brokerAddr");
      const brokerName = requiredExt(request, "brokerName");
      const known = routes.unregisterBroker({ clusterName, brokerAddr, brokerName });
      if (known) logger.info("Broker unregistered", { clusterName, brokerName, brokerAddr, by: remoteAddress });
      return createResponse(request, ResponseCode.SUCCESS);
    }],
    [RequestCode.BROKER_HEARTBEAT, (request) => {
      heard(request);
      return createResponse(request, ResponseCode.SUCCESS);
    }],
    [
      RequestCode.QUERY_DATA_VERSION,
      checkedRequest((request) => {
        const dataVersion = decodeDataVersion(request.body);
        const broker = heard(request);
        const changed = routes.isBrokerTopicConfigChanged(broker, dataVersion);
        const known = routes.queryBrokerTopicConfig(broker);
        const body = known === null ? {} : { body: encodeDataVersion(known) };
        return createResponse(request, ResponseCode.SUCCESS, { ext: { changed }, ...body });
      }),
    ],
    [RequestCode.GET_BROKER_MEMBER_GROUP, (request) => {
      const brokerName = requiredExt(request, "brokerName");
      const clusterName = requiredExt(request, "clusterName");
      const body = encodeBrokerMemberGroup(clusterName, brokerName, routes.getBrokerMemberGroup(brokerName));
      return createResponse(request, ResponseCode.SUCCESS, { body });
    }],
    [
      RequestCode.REGISTER_TOPIC_IN_NAMESRV,
      checkedRequest((request, { remoteAddress }) => {
        const topic = checkedName(requiredExt(request, "topic"), "topic");
        const queueDatas = decodeQueueDatas(request.body);
        const reason = routes.registerTopic(topic, queueDatas);
        // Answered with success in any case, as in Apache.
        if (reason !== null) logger.warn("Left out the route of a topic", { topic, reason, from: remoteAddress });
        return createResponse(request, ResponseCode.SUCCESS);
      }),
    ],
  ]);
}

/** A processor whose errors about what was sent, or a file that can't be written, are the sender's to read. */
export function checkedRequest(processor: RequestProcessor): RequestProcessor {
  const readable = (error: unknown): never => {
    if (!(error instanceof ProtocolError || error instanceof ConfigError || error instanceof IoError)) throw error;
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, error.message);
  };
  return (request, context) => {
    try {
      const answer = processor(request, context);
      return answer instanceof Promise ? answer.catch(readable) : answer;
    } catch (error) {
      return readable(error);
    }
  };
}

function registerBroker({ config, clock, routes, logger, kvConfig, onRegistered }: BrokerProcessorsOptions) {
  const say = limitedLines(logger, clock);
  return checkedRequest((request, { connection, remoteAddress }) => {
    checkCrc(request);
    const registration = registrationOf(request);
    const result = routes.registerBroker(registration, connection, clock.monotonic());
    const { clusterName, brokerName, brokerId, brokerAddr } = registration;
    const fields = { clusterName, brokerName, brokerId, brokerAddr, from: remoteAddress };
    if (result.type === "refused") {
      say("warn", "Refused a broker's registration", { ...fields, reason: result.reason });
      throw new RemotingError(ResponseCode.SYSTEM_ERROR, `register broker failed: ${result.reason}`);
    }
    if (result.type === "ignored") {
      say("warn", "Ignored a broker's registration", { ...fields, reason: result.reason });
      return createResponse(request, ResponseCode.SUCCESS, orderTopics());
    }
    onRegistered(result.expiresAt);
    if (result.replaced !== null) {
      say("warn", "Two live brokers register one brokerId and replace each other; give one of them another brokerId", {
        ...fields,
        oldBrokerAddr: result.replaced,
      }, `${clusterName}\n${brokerName}\n${brokerId}`);
    }
    if (result.isNew) say("info", "Broker registered", { ...fields, topics: registration.body.topics.length });
    const { haServerAddr, masterAddr } = result;
    return createResponse(request, ResponseCode.SUCCESS, { ext: { haServerAddr, masterAddr }, ...orderTopics() });
  });

  function orderTopics(): { body?: Uint8Array } {
    const table = config.returnOrderTopicConfigToBroker
      ? kvConfig.getKVListByNamespace(NAMESPACE_ORDER_TOPIC_CONFIG)
      : null;
    return table === null ? {} : { body: encodeKVTable(table) };
  }
}

/** The sum is of the body as it was sent, without the sign bit; 0 and none mean there is none. */
function checkCrc({ extFields, body }: RemotingCommand): void {
  const wanted = checkedLong(extFields.get("bodyCrc32") ?? "0", "bodyCrc32");
  if (wanted === 0 || wanted === (crc32(body) & 0x7fff_ffff)) return;
  throw new RemotingError(ResponseCode.SYSTEM_ERROR, "crc32 not match");
}

function registrationOf(request: RemotingCommand): BrokerRegistration {
  const { extFields, body, version } = request;
  const name = (key: string) => checkedName(requiredExt(request, key), key);
  const brokerAddr = name("brokerAddr");
  if (parseRemotingAddress(brokerAddr) === null) {
    throw new ProtocolError(`brokerAddr is ${quoted(brokerAddr)}, wanted host:port`);
  }
  const flag = (key: string) => extFields.get(key)?.toLowerCase() === "true";
  const haServerAddr = extFields.get("haServerAddr") ?? "";
  const zoneName = extFields.get("__ZONE_NAME") ?? "";
  const timeout = extFields.get("heartbeatTimeoutMillis");
  return {
    clusterName: name("clusterName"),
    brokerAddr,
    brokerName: name("brokerName"),
    brokerId: checkedLong(requiredExt(request, "brokerId"), "brokerId"),
    haServerAddr: haServerAddr === "" ? null : checkedName(haServerAddr, "haServerAddr"),
    zoneName: zoneName === "" ? null : checkedName(zoneName, "__ZONE_NAME"),
    heartbeatTimeoutMillis: timeout === undefined ? null : checkedLong(timeout, "heartbeatTimeoutMillis"),
    enableActingMaster: extFields.has("enableActingMaster") ? flag("enableActingMaster") : null,
    body: decodeRegisterBrokerBody(body, { compressed: flag("compressed"), version }),
  };
}

/** A broker that comes and goes, or is refused at each try, is said once a minute. `key` tells whom a line is about. */
function limitedLines(logger: Logger, clock: Clock) {
  const lines = new LineLimiter();
  return (
    level: "info" | "warn",
    message: string,
    fields: LogFields & { readonly brokerAddr: string },
    key: string = fields.brokerAddr,
  ): void => {
    const repeated = lines.admit(`${message} ${key}`, clock.monotonic());
    if (repeated !== null) logger[level](message, { ...fields, repeated });
  };
}
