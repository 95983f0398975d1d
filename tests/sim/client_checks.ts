// What must hold of the messages of remoting clients once the faults are over: the master's log, record by record,
// against what was sent, promised, committed and delivered.

import { readInt32 } from "../../src/base/bytes.ts";
import { decodeMessage } from "../../src/store/message_codec.ts";
import { endOf } from "./checkers.ts";
import { WIRE_TOPIC } from "./client_wire.ts";
import type { SimCluster, SimNode } from "./cluster.ts";
import { type InvariantCounts, Violation } from "./invariants.ts";
import type { SentMessage, WireLedger } from "./wire_ledger.ts";

/** The faults are over: everything is delivered within so much world time, ms. */
const DELIVER_MS = 90_000;
const LOOK_MS = 500;
const BLANK_MAGIC = -875286124;

/** A message of the topic in the master's log. */
interface LoggedMessage {
  readonly sent: SentMessage;
  readonly queueId: number;
  readonly queueOffset: number;
}

/** Runs until the group has all that it is to get. Throws `sentIsDelivered` when that takes too long. */
export async function awaitDelivery(cluster: SimCluster, master: SimNode, ledger: WireLedger): Promise<void> {
  const endMs = cluster.world.nowMs + DELIVER_MS;
  for (;;) {
    const missing = whatIsMissing(master, ledger);
    if (missing === null) return;
    if (cluster.world.nowMs > endMs) throw new Violation("sentIsDelivered", `${missing}, ${DELIVER_MS} ms later`);
    await cluster.advance(LOOK_MS);
  }
}

/** Judges what the log holds in the end. Returns what else is worth counting. */
export function checkWire(master: SimNode, ledger: WireLedger, invariants: InvariantCounts): Record<string, number> {
  const logged = loggedMessages(master, ledger);
  const copies = new Map<SentMessage, number>();
  for (const { sent } of logged) copies.set(sent, (copies.get(sent) ?? 0) + 1);
  for (const [sent, count] of copies) checkCopies(sent, count, invariants);
  checkSendOrder(logged, invariants);
  let promised = 0;
  for (const { promise } of ledger.sent) if (promise?.isPromised === true) promised++;
  invariants.add("sentIsDelivered", promised + logged.length);
  const forks = logged.filter(({ sent }) => !ledger.delivered.has(sent.id)).length;
  const again = [...ledger.delivered.values()].filter((count) => count > 1).length;
  return { wirePromised: promised, wireLogged: logged.length, wireForked: forks, wireDeliveredAgain: again };
}

/** A transaction's message is there once per commit at most, what was sent once is there once. */
function checkCopies(sent: SentMessage, count: number, invariants: InvariantCounts): void {
  const { kind, id, commits } = sent;
  if (kind === "delayed") return;
  invariants.holds(
    kind === "half" ? "transactionsDecide" : "queueInOrder",
    count <= (kind === "half" ? commits : 1),
    () => {
      return `Message ${id} (${kind}, ${commits} commits) is in the log ${count} times`;
    },
  );
}

/** What one producer sent after the answer for another message stands behind that one in their queue. */
function checkSendOrder(logged: readonly LoggedMessage[], invariants: InvariantCounts): void {
  const last = new Map<string, LoggedMessage>();
  for (const one of logged) {
    const { sent, queueId } = one;
    if ((sent.kind !== "plain" && sent.kind !== "batch") || sent.promise === null) continue;
    const key = `${sent.producer} ${queueId}`;
    const before = last.get(key);
    last.set(key, one);
    if (before === undefined) continue;
    invariants.holds("queueInOrder", before.sent.id < sent.id && before.queueOffset < one.queueOffset, () => {
      return `Message ${sent.id} stands in queue ${queueId} behind ${before.sent.id}, which was sent later`;
    });
  }
}

/** Something that the group has to get still; null: nothing. */
function whatIsMissing(master: SimNode, ledger: WireLedger): string | null {
  const inLog = new Set<number>();
  for (const { sent, queueId, queueOffset } of loggedMessages(master, ledger)) {
    inLog.add(sent.id);
    if (!ledger.hasSeen(queueId, queueOffset) || (!ledger.isMisled && !ledger.delivered.has(sent.id))) {
      return `Message ${sent.id} (${sent.kind}) is at ${queueOffset} of queue ${queueId} and not delivered`;
    }
  }
  const { minOffset } = master.status();
  for (const { id, kind, promise, end } of ledger.sent) {
    if (promise?.isPromised !== true || endOf(promise) <= minOffset) continue;
    if (kind === "half" && end === "rollback") continue;
    if (!inLog.has(id) && !ledger.delivered.has(id)) return `Message ${id} (${kind}) was promised and is not delivered`;
  }
  return null;
}

/** The topic's messages in the node's log, in order. */
function loggedMessages(node: SimNode, ledger: WireLedger): LoggedMessage[] {
  const { minOffset, maxOffset } = node.status();
  const bytes = node.logBytes(minOffset, maxOffset);
  const logged: LoggedMessage[] = [];
  for (let at = 0; at + 8 <= bytes.length;) {
    const size = readInt32(bytes, at);
    if (readInt32(bytes, at + 4) !== BLANK_MAGIC) {
      const { topic, body, queueId, queueOffset } = decodeMessage(bytes, at);
      const sent = topic === WIRE_TOPIC ? ledger.messageOf(body) : undefined;
      if (sent !== undefined) logged.push({ sent, queueId, queueOffset });
    }
    at += size;
  }
  return logged;
}
