// The table of a broker's "VIP" port (listenPort - 2), where Apache serves all but what may be held for long. Pure.

import type { ProcessorTable } from "./remoting_server.ts";
import { RequestCode } from "./request_code.ts";

/** Codes that Apache's `BrokerController.registerProcessor` does not give to its `fastRemotingServer`. */
const PULLS: ReadonlySet<number> = new Set([
  RequestCode.PULL_MESSAGE,
  RequestCode.LITE_PULL_MESSAGE,
  // Pop consumption: POP_MESSAGE, PEEK_MESSAGE, NOTIFICATION, POLLING_INFO.
  200050,
  200052,
  200054,
  200055,
]);

/** The same table without pulls and pops: a VIP port answers these with "not supported", as every code it lacks. */
export function withoutPulls(table: ProcessorTable): ProcessorTable {
  return new Map([...table].filter(([code]) => !PULLS.has(code)));
}
