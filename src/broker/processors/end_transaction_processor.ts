// END_TRANSACTION (37): a producer commits or rolls back; and RESUME_CHECK_HALF_MESSAGE (323): mqadmin has a transaction
// asked about again. What that means is the transaction service's; here are the headers and the answers.

import { RemotingError } from "../../base/errors.ts";
import { LineLimiter } from "../../base/line_limiter.ts";
import type { Logger } from "../../base/logger.ts";
import { quoted } from "../../base/printable.ts";
import { createResponse, type RemotingCommand, requiredExt } from "../../remoting/remoting_command.ts";
import type { RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import { decodeMessageId } from "../../store/message_codec.ts";
import { MessageSysFlag } from "../../store/message_sys_flag.ts";
import type { Clock } from "../../runtime/runtime.ts";
import { integerOf } from "../transaction/half_message.ts";
import type { TransactionEnd } from "../transaction/transactional_message_service.ts";

/** What the processors need. */
export interface EndTransactionPorts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly transactions: {
    readonly isRunning: boolean;
    /** Throws `RemotingError`. */
    end(request: TransactionEnd): Promise<void>;
    resumeCheck(physicalOffset: number): Promise<void>;
  };
}

/** The processors of 37 and 323. Mirrors Apache's `EndTransactionProcessor`. */
export function endTransactionProcessors(ports: EndTransactionPorts): Map<number, RequestProcessor> {
  const lines = new LineLimiter();
  return new Map([
    [RequestCode.END_TRANSACTION, (request) => endTransaction(ports, lines, request)],
    [RequestCode.RESUME_CHECK_HALF_MESSAGE, (request) => resumeCheck(ports, request)],
  ]);
}

async function endTransaction(
  { transactions, logger, clock }: EndTransactionPorts,
  lines: LineLimiter,
  request: RemotingCommand,
): Promise<RemotingCommand | null> {
  if (!transactions.isRunning) {
    return createResponse(request, ResponseCode.SLAVE_NOT_AVAILABLE, { remark: "Transactions are ended at a master" });
  }
  const outcome = outcomeOf(integerExt(request, "commitOrRollback"));
  // The producer does not know (yet): nothing is done, and nothing answered.
  if (outcome === null) return null;
  const producerGroup = requiredExt(request, "producerGroup");
  try {
    await transactions.end({
      producerGroup,
      tranStateTableOffset: integerExt(request, "tranStateTableOffset"),
      commitLogOffset: integerExt(request, "commitLogOffset"),
      outcome,
      fromTransactionCheck: request.extFields.get("fromTransactionCheck") === "true",
    });
  } catch (error) {
    if (!(error instanceof RemotingError)) throw error;
    // Producers ask one-way: nobody would hear of it.
    const repeated = lines.admit(`${error.code} ${producerGroup}`, clock.monotonic());
    if (repeated !== null) {
      logger.warn("A transaction can't be ended", { producerGroup, outcome, error: error.message, repeated });
    }
    throw error;
  }
  return createResponse(request, ResponseCode.SUCCESS);
}

function outcomeOf(commitOrRollback: number): "commit" | "rollback" | null {
  if (commitOrRollback === MessageSysFlag.TRANSACTION_COMMIT) return "commit";
  return commitOrRollback === MessageSysFlag.TRANSACTION_ROLLBACK ? "rollback" : null;
}

async function resumeCheck({ transactions }: EndTransactionPorts, request: RemotingCommand): Promise<RemotingCommand> {
  const msgId = requiredExt(request, "msgId");
  const id = decodeMessageId(msgId);
  if (id === null) {
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, `msgId is ${quoted(msgId)}, wanted an offset message id`);
  }
  await transactions.resumeCheck(id.physicalOffset);
  return createResponse(request, ResponseCode.SUCCESS);
}

function integerExt(request: RemotingCommand, name: string): number {
  const text = requiredExt(request, name);
  const value = integerOf(text);
  if (value !== null) return value;
  throw new RemotingError(
    ResponseCode.SYSTEM_ERROR,
    `Ext field "${name}" is ${quoted(text, 40)}, wanted a whole number`,
  );
}
