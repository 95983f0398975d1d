// A long way between two nodes: bench/neutral/delay_forwarder.c in front of a port, and how far that way really is.

import type { MadeLog } from "./log_maker.ts";
import { measure, Peer, type PeerResult } from "./peer.ts";
import type { Way } from "./phases.ts";

/** A forwarder to `port` that keeps every byte for `delayUs` in each direction, while `work` uses its port. */
export async function withDelay<T>(port: number, delayUs: number, work: (port: number) => Promise<T>): Promise<T> {
  const forwarder = new Peer("delay_forwarder", [port, delayUs]);
  try {
    return await work(await forwarder.port());
  } finally {
    await forwarder.destroy();
  }
}

/** Bytes of Twinlog's own frames while a slave is far behind. */
const LARGE_FRAME = 1024 * 1024;

/** What neutral peers reach at both ends of a way. */
export interface WayLimits {
  /** The whole log from the neutral master to the neutral slave, in frames of 1 MiB. */
  readonly large: PeerResult;
  /** The same in the frames that neutral masters send. */
  readonly small: PeerResult;
  /** One record there and its ack back. */
  readonly ack: PeerResult;
}

/** Measures {@link WayLimits}; `delayUs` null: loopback without a forwarder. */
export async function wayLimits(
  parts: { log: MadeLog; smallFrame: number; acks: number; delayUs: number | null },
): Promise<WayLimits> {
  const { log, smallFrame, acks, delayUs } = parts;
  const way: Way = (port, work) => delayUs === null ? work(port) : withDelay(port, delayUs, work);
  return {
    large: await transfer(log, LARGE_FRAME, way),
    small: await transfer(log, smallFrame, way),
    ack: await timeAcks(log, acks, way),
  };
}

async function transfer(log: MadeLog, frame: number, way: Way): Promise<PeerResult> {
  const total = log.marks[0]!;
  const master = new Peer("ha_peer", ["serve", log.directory, log.mappedFileSize, total, frame]);
  try {
    return await way(await master.port(), async (port) => {
      await measure("ha_peer", "pull", port, 0, total);
      return await master.result();
    });
  } finally {
    await master.destroy();
  }
}

async function timeAcks(log: MadeLog, acks: number, way: Way): Promise<PeerResult> {
  const from = log.marks[0]!;
  const master = new Peer("ha_peer", ["pingpong", log.directory, log.mappedFileSize, from, acks, 1]);
  try {
    return await way(await master.port(), async (port) => {
      // It would read on for ever: it ends with the series.
      const slave = new Peer("ha_peer", ["pull", port, from, Number.MAX_SAFE_INTEGER]);
      try {
        await master.said("attached", 30_000);
        master.go();
        return await master.result();
      } finally {
        await slave.destroy();
      }
    });
  } finally {
    await master.destroy();
  }
}
