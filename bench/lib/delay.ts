// A long way between two nodes: bench/neutral/delay_forwarder.c in front of a port, and how far that way really is.

import { type MadeLog } from "./log_maker.ts";
import { measure, Peer, type PeerResult } from "./peer.ts";

/** A forwarder to `port` that keeps every byte for `delayUs` in each direction, while `work` uses its port. */
export async function withDelay<T>(port: number, delayUs: number, work: (port: number) => Promise<T>): Promise<T> {
  const forwarder = new Peer("delay_forwarder", [port, delayUs]);
  try {
    return await work(await forwarder.port());
  } finally {
    await forwarder.destroy();
  }
}

/** What neutral peers reach at both ends of a way; `delayUs` null: without a forwarder. */
export interface WayLimits {
  /** The whole log from the neutral master to the neutral slave. */
  readonly transfer: PeerResult;
  /** One record there and its ack back. */
  readonly ack: PeerResult;
}

/** Measures {@link WayLimits}. */
export async function wayLimits(
  { log, frame, acks, delayUs }: { log: MadeLog; frame: number; acks: number; delayUs: number | null },
): Promise<WayLimits> {
  const through = async <T>(port: number, work: (port: number) => Promise<T>) =>
    delayUs === null ? await work(port) : await withDelay(port, delayUs, work);
  const total = log.marks[0]!;
  const master = new Peer("ha_peer", ["serve", log.directory, log.mappedFileSize, total, frame]);
  const transfer = await through(await master.port(), async (port) => {
    await measure("ha_peer", "pull", port, 0, total);
    return await master.result();
  }).finally(() => master.destroy());
  const pinging = new Peer("ha_peer", ["pingpong", log.directory, log.mappedFileSize, total, acks, 1]);
  const ack = await through(await pinging.port(), async (port) => {
    // It would read on for ever: it ends with the series.
    const slave = new Peer("ha_peer", ["pull", port, total, Number.MAX_SAFE_INTEGER]);
    try {
      await pinging.said("attached", 30_000);
      pinging.go();
      return await pinging.result();
    } finally {
      await slave.destroy();
    }
  }).finally(() => pinging.destroy());
  return { transfer, ack };
}
