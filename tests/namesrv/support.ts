// What the NameServer's tests share: registrations as brokers make them, and requests as they come off the wire.

import { deflateSync } from "node:zlib";
import { concatBytes, utf8, writeInt32 } from "../../src/base/bytes.ts";
import type { RouteInfoConfig } from "../../src/namesrv/route_info_manager.ts";
import type { BrokerRegistration, DataVersion, RegisteredTopic } from "../../src/namesrv/route_types.ts";

export const CONFIG: RouteInfoConfig = {
  supportActingMaster: false,
  notifyMinBrokerIdChanged: false,
  deleteTopicWithBrokerRegistration: false,
};

/** A topic of 4 queues that may be read and written. */
export function topic(topicName: string, parts: Partial<RegisteredTopic> = {}): RegisteredTopic {
  return { topicName, perm: 6, readQueueNums: 4, topicSysFlag: 0, writeQueueNums: 4, ...parts };
}

export function version(counter: number, parts: Partial<DataVersion> = {}): DataVersion {
  return { counter, stateVersion: 0, timestamp: 1000 + counter, ...parts };
}

/** What a 5.x master of `broker-a` sends, but for `parts`; `topics` by name or whole. */
export function registration(
  parts: Omit<Partial<BrokerRegistration>, "body"> & {
    readonly topics?: readonly (string | RegisteredTopic)[];
    readonly dataVersion?: DataVersion | null;
    readonly body?: Partial<BrokerRegistration["body"]>;
  } = {},
): BrokerRegistration {
  const { topics = ["T1", "T2"], dataVersion = version(1), body, ...rest } = parts;
  return {
    clusterName: "C",
    brokerAddr: "10.0.0.1:10911",
    brokerName: "broker-a",
    brokerId: 0,
    haServerAddr: "10.0.0.1:10912",
    zoneName: null,
    heartbeatTimeoutMillis: null,
    enableActingMaster: false,
    ...rest,
    body: {
      dataVersion,
      topics: topics.map((each) => typeof each === "string" ? topic(each) : each),
      mappings: [],
      filterServerList: [],
      ...body,
    },
  };
}

/** A slave of the same broker name. */
export function slave(parts: Parameters<typeof registration>[0] = {}): BrokerRegistration {
  return registration({
    brokerId: 1,
    brokerAddr: "10.0.0.2:10911",
    haServerAddr: "10.0.0.2:10912",
    ...parts,
  });
}

/** One length-prefixed part of a deflated body. */
export function part(text: string): Uint8Array {
  const bytes = utf8.encode(text);
  return concatBytes([int32(bytes.length), bytes]);
}

export function int32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  writeInt32(bytes, 0, value);
  return bytes;
}

export function deflated(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(deflateSync(concatBytes(parts), { level: 9 }));
}
