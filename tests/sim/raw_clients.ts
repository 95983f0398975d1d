// Strangers at a node's ports: a slave that stops reading, and a crowd of connections that ask for nothing or send
// rubbish. They come from the cluster's client machine, over its network.

import type { Connection } from "../../src/runtime/runtime.ts";
import type { Prng } from "../../src/runtime/simulated/mod.ts";
import type { SimulatedConnection } from "../../src/runtime/simulated/connection.ts";
import type { SimCluster, SimNode } from "./cluster.ts";

const PORTS = [10911, 10912];
const HA_PORT = 10912;
const CONNECT_TIMEOUT_MS = 3_000;

async function connect(cluster: SimCluster, node: SimNode, port: number): Promise<Connection | null> {
  try {
    return await cluster.client.runtime.net.connect({
      hostname: node.host.address,
      port,
      timeoutMs: CONNECT_TIMEOUT_MS,
    });
  } catch {
    return null;
  }
}

/** Asks for the log as a slave does, reads nothing, and goes. `onProof` hears when bytes were left unread. */
export async function stopReading(
  cluster: SimCluster,
  node: SimNode,
  durationMs: number,
  later: (delayMs: number, undo: () => void) => void,
  onProof: () => void,
): Promise<void> {
  const connection = await connect(cluster, node, HA_PORT);
  if (connection === null) return;
  const request = new DataView(new ArrayBuffer(8));
  request.setBigInt64(0, BigInt(node.isUp ? Math.max(1, node.status().minOffset) : 1));
  connection.write(new Uint8Array(request.buffer)).catch(() => {});
  later(durationMs, () => {
    if ((connection as SimulatedConnection).unreadBytes > 0) onProof();
    connection.close();
  });
}

/** Makes many connections at once; some send a little rubbish. All go after a while. `onMade` hears how many came to be. */
export async function crowd(
  cluster: SimCluster,
  node: SimNode,
  { size, durationMs, prng }: { size: number; durationMs: number; prng: Prng },
  later: (delayMs: number, undo: () => void) => void,
  onMade: (count: number) => void,
): Promise<void> {
  const port = prng.pick(PORTS);
  const rubbish = Array.from({ length: size }, () => prng.bytes(prng.pick([0, 0, 3, 8, 40])));
  const made = await Promise.all(rubbish.map(async (bytes) => {
    const connection = await connect(cluster, node, port);
    // Never something that reads as a slave's word: the sign bit makes an offset no offset.
    if (bytes.length > 0) bytes[0]! |= 0x80;
    if (bytes.length > 0) connection?.write(bytes).catch(() => {});
    return connection;
  }));
  const connections = made.filter((each) => each !== null);
  onMade(connections.length);
  later(durationMs, () => {
    for (const connection of connections) connection.close();
  });
}
