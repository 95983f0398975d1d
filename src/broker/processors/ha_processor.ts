// Requests about replication itself: EXCHANGE_BROKER_HA_INFO (906), by which a slave is told its master and a master
// asked for its addresses, and GET_BROKER_HA_STATUS (907), which `mqadmin haStatus` reads.

import { utf8 } from "../../base/bytes.ts";
import { RemotingError } from "../../base/errors.ts";
import { createResponse, type RemotingCommand } from "../../remoting/remoting_command.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { RequestProcessor } from "../../remoting/remoting_server.ts";
import type { BrokerHAPort, HAClientRuntimeInfo, HARuntimeInfoView } from "./ports.ts";

/** The processors by code. */
export function haProcessors(port: BrokerHAPort): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.EXCHANGE_BROKER_HA_INFO, (request) => exchange(request, port)],
    [RequestCode.GET_BROKER_HA_STATUS, (request) => status(request, port)],
  ]);
}

function exchange(request: RemotingCommand, port: BrokerHAPort): RemotingCommand {
  const masterHaAddress = request.extFields.get("masterHaAddress")?.trim() ?? "";
  if (masterHaAddress === "") {
    return createResponse(request, ResponseCode.SUCCESS, { ext: { ...port.haInfo() } });
  }
  const flushOffset = Number(request.extFields.get("masterFlushOffset") ?? NaN);
  const refusal = port.adoptMaster({
    masterHaAddress,
    masterFlushOffset: Number.isSafeInteger(flushOffset) ? flushOffset : null,
    masterAddress: request.extFields.get("masterAddress") ?? null,
  });
  if (refusal !== null) throw new RemotingError(ResponseCode.SYSTEM_ERROR, refusal);
  return createResponse(request, ResponseCode.SUCCESS);
}

function status(request: RemotingCommand, port: BrokerHAPort): RemotingCommand {
  const info = port.haRuntimeInfo();
  if (info === null) throw new RemotingError(ResponseCode.SYSTEM_ERROR, "This broker runs no HA service");
  return createResponse(request, ResponseCode.SUCCESS, { body: utf8.encode(haRuntimeInfoJson(info)) });
}

const NO_CLIENT: HAClientRuntimeInfo = {
  transferredByteInSecond: 0,
  maxOffset: 0,
  lastReadTimestamp: 0,
  lastWriteTimestamp: 0,
  masterFlushOffset: 0,
};

/** Apache's fields, in Apache's order, and none beyond them. */
export function haRuntimeInfoJson(info: HARuntimeInfoView): string {
  const client = info.haClientRuntimeInfo ?? NO_CLIENT;
  return JSON.stringify({
    haClientRuntimeInfo: {
      lastReadTimestamp: client.lastReadTimestamp,
      lastWriteTimestamp: client.lastWriteTimestamp,
      ...(client.masterAddr == null ? {} : { masterAddr: client.masterAddr }),
      masterFlushOffset: client.masterFlushOffset,
      maxOffset: client.maxOffset,
      transferredByteInSecond: client.transferredByteInSecond,
    },
    haConnectionInfo: info.haConnectionInfo.map((one) => ({
      addr: one.addr,
      diff: one.diff,
      inSync: one.inSync,
      slaveAckOffset: one.slaveAckOffset,
      transferFromWhere: one.transferFromWhere,
      transferredByteInSecond: one.transferredByteInSecond,
    })),
    inSyncSlaveNums: info.inSyncSlaveNums,
    master: info.master,
    masterCommitLogMaxOffset: info.masterCommitLogMaxOffset,
  });
}
