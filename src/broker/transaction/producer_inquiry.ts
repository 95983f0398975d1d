// Asks a producer how a transaction ended (39). Whom, is the producer table's choice; what comes of the answer, the
// transaction service's.

import type { Logger } from "../../base/logger.ts";
import type { Config } from "../../config/schema.ts";
import type { RemotingConnection } from "../../remoting/remoting_connection.ts";
import { isRefusal, prepareMessage, writeRecord } from "../../store/message_encoder.ts";
import { MessageConst } from "../../store/message_properties.ts";
import type { MessageToPut } from "../../store/types.ts";
import type { CheckTransactionState } from "../client/broker2client.ts";
import { RMQ_SYS_TRANS_HALF_TOPIC } from "../topic_validator.ts";
import { realPlaceOf } from "../message_copy.ts";
import type { HalfPlace } from "./transaction_check.ts";

/** What {@link askProducer} needs. */
export interface ProducerInquiryParts {
  readonly producers: { getAvailableChannel(group: string): { readonly connection: RemotingConnection } | null };
  readonly broker2Client: {
    checkProducerTransactionState(
      connection: RemotingConnection,
      header: CheckTransactionState,
      message: Uint8Array,
    ): boolean;
  };
  readonly logger: Logger;
  readonly config: Pick<Config, "brokerName">;
}

/** The message was within the store's own bounds. */
const NO_BOUND = { maxMessageSize: 0x7fff_ffff, enabledAppendPropCRC: false };

/**
 * Sends the half message, as it stands at `place`, to one of its producers; to nobody when none is connected. Mirrors
 * `AbstractTransactionalMessageCheckListener.sendCheckMessage`.
 */
export function askProducer(
  { producers, broker2Client, logger, config }: ProducerInquiryParts,
  half: MessageToPut,
  place: HalfPlace,
  storeTimestamp: number,
): void {
  const group = half.properties.get(MessageConst.PROPERTY_PRODUCER_GROUP) ?? "";
  const real = realPlaceOf(half);
  const channel = producers.getAvailableChannel(group);
  if (real === null || channel === null) {
    logger.warn("Nobody can be asked how a transaction ended", { group, topic: real?.topic ?? null });
    return;
  }
  const prepared = prepareMessage({ ...half, ...real }, NO_BOUND);
  if (isRefusal(prepared)) {
    logger.warn("Can't ask how a transaction ended", { group, topic: real.topic, error: prepared.remark });
    return;
  }
  const body = new Uint8Array(prepared.size);
  writeRecord(prepared, body, 0, { ...place, storeTimestamp });
  const uniqKey = half.properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX) ?? null;
  broker2Client.checkProducerTransactionState(channel.connection, {
    topic: RMQ_SYS_TRANS_HALF_TOPIC,
    tranStateTableOffset: place.queueOffset,
    commitLogOffset: place.physicalOffset,
    msgId: uniqKey,
    transactionId: uniqKey,
    offsetMsgId: place.msgId,
    bname: config.brokerName,
  }, body);
}
