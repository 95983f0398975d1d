// What replication shows of itself: the answer of GET_BROKER_HA_STATUS (907), the figures of /ha, and the reasons it
// refuses for, counted. Shapes and counters only; HAService and the HA client fill them.

import { LineLimiter } from "../base/line_limiter.ts";
import type { HAConnectionState } from "./ha_connection_state.ts";

/** Why the master closed, or would not serve, an HA connection. A label of the refusal counter. */
export const HA_REFUSAL_REASONS = [
  /** A report that is negative or beyond 2^53 - 1. */
  "badReport",
  /** An ack below the connection's last report. */
  "ackWentBack",
  /** An ack beyond what the connection was sent. */
  "ackBeyondSent",
  /** A request beyond the log's end. */
  "slaveAhead",
  /** The next byte is below the log's start. */
  "belowMin",
  /** The log was cut below what was sent. */
  "logCut",
  /** The log could not be read. */
  "readFailed",
  /** No report within the housekeeping interval of connecting. */
  "neverRequested",
  /** No byte within the housekeeping interval. */
  "housekeeping",
  /** The table of connections is full. */
  "tooManyConnections",
  /** One address has its share of that table. */
  "tooManyFromAddress",
  /** Its address is not in `haAllowedPeers`. */
  "notAllowed",
  /** No TLS handshake with a certificate of the CA. */
  "tlsFailed",
] as const;
/** Why a peer of the HA port was refused, or closed on. */
export type HARefusalReason = (typeof HA_REFUSAL_REASONS)[number];

/** One slave as its master sees it. Mirrors Apache's `HARuntimeInfo.HAConnectionRuntimeInfo`, and more. */
export interface HAConnectionRuntimeInfo {
  /** Remote `ip:port`. */
  readonly addr: string;
  /** -1 before the first validated report. */
  readonly slaveAckOffset: number;
  /** The master's end less the ack: the lag, bytes. */
  readonly diff: number;
  readonly inSync: boolean;
  /** Bytes sent in the last whole second, headers and bodies. */
  readonly transferredByteInSecond: number;
  /** Next byte to send; -1 before the first report. */
  readonly transferFromWhere: number;
  /** Ours. */
  readonly state: HAConnectionState;
  /** Ours: the first report; -1 before it. */
  readonly slaveRequestOffset: number;
  /** Ours: why it is not served, or not counted; else null. */
  readonly reason: string | null;
}

/** The slave's own side. Mirrors Apache's `HARuntimeInfo.HAClientRuntimeInfo`; timestamps are Unix ms. */
export interface HAClientRuntimeInfo {
  /** Absent on a master. */
  readonly masterAddr?: string;
  readonly transferredByteInSecond: number;
  readonly maxOffset: number;
  readonly lastReadTimestamp: number;
  readonly lastWriteTimestamp: number;
  readonly masterFlushOffset: number;
}

/** Answer of GET_BROKER_HA_STATUS (907). Mirrors Apache's `HARuntimeInfo`; its reader ignores the fields it lacks. */
export interface HARuntimeInfo {
  readonly master: boolean;
  /** 0 on a slave. */
  readonly masterCommitLogMaxOffset: number;
  /** Slaves in sync, the master itself not counted; 0 on a slave. */
  readonly inSyncSlaveNums: number;
  /** On a slave too when others follow it (Apache: empty). */
  readonly haConnectionInfo: readonly HAConnectionRuntimeInfo[];
  readonly haClientRuntimeInfo: HAClientRuntimeInfo;
}

/** The client side of a node that follows nobody. */
export const NO_HA_CLIENT: HAClientRuntimeInfo = {
  transferredByteInSecond: 0,
  maxOffset: 0,
  lastReadTimestamp: 0,
  lastWriteTimestamp: 0,
  masterFlushOffset: 0,
};

/** Counts refusals by reason, and keeps a peer that repeats one from filling the log output. */
export class RefusalCounter {
  readonly #counts = new Map<HARefusalReason, number>(HA_REFUSAL_REASONS.map((reason) => [reason, 0]));
  readonly #lines = new LineLimiter();

  /** Refusals so far, every reason included. */
  get counts(): ReadonlyMap<HARefusalReason, number> {
    return this.#counts;
  }

  /**
   * Counts one. The answer is how many of this host and reason went unsaid since the last line, or null: say nothing
   * now. `now` is monotonic ms.
   */
  count(host: string, reason: HARefusalReason, now: number): number | null {
    this.#counts.set(reason, this.#counts.get(reason)! + 1);
    return this.#lines.admit(`${reason} ${host}`, now);
  }
}
