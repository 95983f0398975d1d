// How the outcome of a put is answered: Apache's table in `SendMessageProcessor.handlePutMessageResult`.

import { ResponseCode } from "../remoting/response_code.ts";
import { PutMessageStatus } from "../store/types.ts";

const CODES: Partial<Record<PutMessageStatus, number>> = {
  [PutMessageStatus.PUT_OK]: ResponseCode.SUCCESS,
  [PutMessageStatus.FLUSH_DISK_TIMEOUT]: ResponseCode.FLUSH_DISK_TIMEOUT,
  [PutMessageStatus.FLUSH_SLAVE_TIMEOUT]: ResponseCode.FLUSH_SLAVE_TIMEOUT,
  [PutMessageStatus.SLAVE_NOT_AVAILABLE]: ResponseCode.SLAVE_NOT_AVAILABLE,
  [PutMessageStatus.MESSAGE_ILLEGAL]: ResponseCode.MESSAGE_ILLEGAL,
  [PutMessageStatus.PROPERTIES_SIZE_EXCEEDED]: ResponseCode.MESSAGE_ILLEGAL,
  [PutMessageStatus.WHEEL_TIMER_MSG_ILLEGAL]: ResponseCode.MESSAGE_ILLEGAL,
  [PutMessageStatus.SERVICE_NOT_AVAILABLE]: ResponseCode.SERVICE_NOT_AVAILABLE,
};

/** The response code of a put's status; SYSTEM_ERROR for those without one of their own. */
export function responseCodeOf(status: PutMessageStatus): number {
  return CODES[status] ?? ResponseCode.SYSTEM_ERROR;
}
