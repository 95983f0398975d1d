// What the broker says to its clients on their own connections: group changes, transaction checks, offset resets, and
// requests of mqadmin that a client answers.

import { errorMessage, IoError, RemotingError } from "../../base/errors.ts";
import { utf8 } from "../../base/bytes.ts";
import { printable } from "../../base/printable.ts";
import type { Logger } from "../../base/logger.ts";
import {
  isJavaJsonObject,
  type JavaJson,
  type JavaJsonMap,
  type JavaJsonObject,
  javaJsonObject,
  parseJavaJson,
  WIRE_FORMAT,
  writeJavaJson,
} from "../../remoting/java_json.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../remoting/remoting_command.ts";
import type { RemotingConnection } from "../../remoting/remoting_connection.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { ClientChannelInfo } from "./client_channel_info.ts";
import type { ConsumerManager } from "./consumer_manager.ts";
import { messageQueueJson } from "./message_queue.ts";

/** What a {@link Broker2Client} needs. */
export interface Broker2ClientOptions {
  readonly logger: Logger;
  /** Asked at each use: the managers are made after this. */
  readonly consumers: () => Pick<ConsumerManager, "getConsumerGroupInfo" | "findChannel">;
  /** Name told to clients in queues. */
  readonly brokerName: string;
}

/** Header fields of CHECK_TRANSACTION_STATE (39). Mirrors Apache's `CheckTransactionStateRequestHeader`. */
export interface CheckTransactionState {
  readonly tranStateTableOffset: number;
  readonly commitLogOffset: number;
  readonly msgId?: string | null;
  readonly transactionId?: string | null;
  readonly offsetMsgId?: string | null;
  readonly topic?: string | null;
  /** The broker's name. */
  readonly bname?: string | null;
}

/** A client's answer to a request of mqadmin is waited for so long. */
const CALL_CLIENT_TIMEOUT_MS = 10_000;
/** Its offsets likewise. */
const CONSUME_STATUS_TIMEOUT_MS = 5000;
/** `MQVersion` ordinals: V3_0_7_SNAPSHOT knows 220 and 221, V3_1_8_SNAPSHOT knows 307 and 309. */
const VERSION_3_0_7 = 28;
const VERSION_3_1_8 = 62;

/** Mirrors Apache's `Broker2Client` and `AdminBrokerProcessor.callConsumer`. */
export class Broker2Client {
  readonly #options: Broker2ClientOptions;

  constructor(options: Broker2ClientOptions) {
    this.#options = options;
  }

  /** Tells one member that its group changed (40). A connection that is gone is none of the caller's business. */
  notifyConsumerIdsChanged(connection: RemotingConnection, consumerGroup: string): void {
    this.#tell(connection, createRequest(RequestCode.NOTIFY_CONSUMER_IDS_CHANGED, { consumerGroup }));
  }

  /** Asks a producer how a transaction ended (39). `message` is the half message as a record. False: could not send. */
  checkProducerTransactionState(
    connection: RemotingConnection,
    header: CheckTransactionState,
    message: Uint8Array,
  ): boolean {
    return this.#tell(connection, createRequest(RequestCode.CHECK_TRANSACTION_STATE, { ...header }, message));
  }

  /**
   * Tells every member of the group to go on at these offsets (220), by queue id. Throws {@link RemotingError}
   * `CONSUMER_NOT_ONLINE` without members and `SYSTEM_ERROR` for one that is too old; nobody is told then.
   */
  resetOffset(
    topic: string,
    group: string,
    timestamp: number,
    isForce: boolean,
    offsets: ReadonlyMap<number, number>,
    isC = false,
  ): void {
    const members = this.#options.consumers().getConsumerGroupInfo(group)?.channels() ?? [];
    if (members.length === 0) {
      throw new RemotingError(
        ResponseCode.CONSUMER_NOT_ONLINE,
        `Consumer not online, so can not reset offset, Group: ${shown(group)} Topic: ${shown(topic)} ` +
          `Timestamp: ${timestamp}`,
      );
    }
    for (const member of members) checkVersion(member, VERSION_3_0_7);
    const body = isC ? this.#offsetsForC(topic, offsets) : this.offsetTable(topic, offsets);
    for (const { connection } of members) {
      const ext = { topic, group, timestamp, isForce };
      this.#tell(connection, createRequest(RequestCode.RESET_CONSUMER_CLIENT_OFFSET, ext, body));
    }
  }

  /** `{"offsetTable":{<MessageQueue>:offset}}`: body of 220, and of the answer to 222. */
  offsetTable(topic: string, offsets: ReadonlyMap<number, number>): Uint8Array {
    const { brokerName } = this.#options;
    const offsetTable: JavaJsonMap = new Map();
    for (const [queueId, offset] of offsets) {
      offsetTable.set(messageQueueJson({ topic, brokerName, queueId }), offset);
    }
    return encode(javaJsonObject({ offsetTable }));
  }

  /**
   * Where the members are (221), body of the answer to 223: `{"consumerTable":{"clientId":{<MessageQueue>:offset}},
   * "messageQueueTable":{}}`. One that does not answer is left out. Throws {@link RemotingError} `SYSTEM_ERROR` without
   * members and for one that is too old.
   */
  async getConsumeStatus(topic: string, group: string, clientId: string | null): Promise<Uint8Array> {
    const members = this.#options.consumers().getConsumerGroupInfo(group)?.channels() ?? [];
    if (members.length === 0) {
      throw new RemotingError(
        ResponseCode.SYSTEM_ERROR,
        `No Any Consumer online in the consumer group: [${shown(group)}]`,
      );
    }
    for (const member of members) checkVersion(member, VERSION_3_0_7);
    const asked = members.filter((member) => clientId === null || clientId === "" || member.clientId === clientId);
    const consumerTable = javaJsonObject();
    await Promise.all(asked.map(async (member) => {
      const table = await this.#consumeStatus(member, topic, group);
      if (table !== null) consumerTable[member.clientId] = table;
    }));
    return encode(javaJsonObject({ consumerTable, messageQueueTable: javaJsonObject() }));
  }

  /**
   * Forwards a request of mqadmin (307, 309) to a member and resolves with its answer. Throws {@link RemotingError}
   * `SYSTEM_ERROR` when it is not there, too old or goes away, `CONSUME_MSG_TIMEOUT` after 10 s.
   */
  async callClient(
    group: string,
    clientId: string,
    request: { readonly code: number; readonly ext: ExtValues; readonly body?: Uint8Array },
  ): Promise<RemotingCommand> {
    const member = this.#options.consumers().findChannel(group, clientId);
    if (member === null) {
      throw new RemotingError(
        ResponseCode.SYSTEM_ERROR,
        `The Consumer <${shown(group)}> <${shown(clientId)}> not online`,
      );
    }
    checkVersion(member, VERSION_3_1_8);
    try {
      const forwarded = createRequest(request.code, request.ext, request.body);
      return await member.connection.invoke(forwarded, CALL_CLIENT_TIMEOUT_MS);
    } catch (error) {
      const timedOut = error instanceof IoError && error.kind === "timeout";
      throw new RemotingError(
        timedOut ? ResponseCode.CONSUME_MSG_TIMEOUT : ResponseCode.SYSTEM_ERROR,
        `Consumer <${shown(group)}> <${shown(clientId)}> ${timedOut ? "timeout" : "exception"}: ${errorMessage(error)}`,
      );
    }
  }

  async #consumeStatus(member: ClientChannelInfo, topic: string, group: string): Promise<JavaJson | null> {
    try {
      const request = createRequest(RequestCode.GET_CONSUMER_STATUS_FROM_CLIENT, { topic, group });
      const answer = await member.connection.invoke(request, CONSUME_STATUS_TIMEOUT_MS);
      if (answer.code !== ResponseCode.SUCCESS || answer.body.length === 0) return null;
      const body = parseJavaJson(utf8.decode(answer.body));
      const table = isJavaJsonObject(body) ? body.messageQueueTable : undefined;
      return table instanceof Map || isJavaJsonObject(table) ? table : javaJsonObject();
    } catch (error) {
      this.#options.logger.warn("A consumer does not tell its offsets", {
        group,
        topic,
        clientId: member.clientId,
        error: errorMessage(error),
      });
      return null;
    }
  }

  #offsetsForC(topic: string, offsets: ReadonlyMap<number, number>): Uint8Array {
    const { brokerName } = this.#options;
    const offsetTable: JavaJsonObject[] = Array.from(
      offsets,
      ([queueId, offset]) => javaJsonObject({ brokerName, offset, queueId, topic }),
    );
    return encode(javaJsonObject({ offsetTable }));
  }

  #tell(connection: RemotingConnection, request: RemotingCommand): boolean {
    if (connection.closed) return false;
    try {
      connection.invokeOneway(request);
      return true;
    } catch (error) {
      const { remoteAddress: remote } = connection;
      this.#options.logger.warn("Can't tell a client", { code: request.code, remote, error: errorMessage(error) });
      return false;
    }
  }
}

function checkVersion({ clientId, version }: ClientChannelInfo, wanted: number): void {
  if (version >= wanted) return;
  throw new RemotingError(
    ResponseCode.SYSTEM_ERROR,
    `The client ${shown(clientId)} does not support this feature, its version is ${version}, wanted ${wanted}`,
  );
}

function shown(name: string): string {
  return printable(name.slice(0, 300));
}

function encode(body: JavaJsonObject): Uint8Array {
  return utf8.encode(writeJavaJson(body, WIRE_FORMAT));
}
