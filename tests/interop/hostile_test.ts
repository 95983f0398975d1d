// Hostile peers of a real process on each runtime: random bytes, huge and negative offsets, early closes, connections
// that say nothing, a thousand at once on the HA, remoting and admin ports. Each is refused or closed, memory stays
// bounded, and the replication beside it goes on.

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import * as net from "node:net";
import * as path from "node:path";
import { describe, it } from "node:test";
import { assertSameLog } from "./lab/compare.ts";
import { until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { RUNTIMES, startTwinlog, type TwinlogNode } from "./lab/twinlog.ts";

const MIB = 1024 * 1024;

function portOf(address: string): number {
  return Number(address.split(":").at(-1));
}

async function connect(address: string): Promise<net.Socket> {
  const socket = net.connect(portOf(address), "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** Sends and waits for the other side to close; answers with the bytes that came. Fails after `limitMs`. */
async function sendAndSee(address: string, bytes: Uint8Array, limitMs: number): Promise<"closed" | "open"> {
  const socket = await connect(address);
  const closed = once(socket, "close").then(() => "closed" as const);
  socket.resume();
  socket.write(bytes);
  const timer = Promise.withResolvers<"open">();
  const handle = setTimeout(() => timer.resolve("open"), limitMs);
  const outcome = await Promise.race([closed, timer.promise]);
  clearTimeout(handle);
  socket.destroy();
  return outcome;
}

function int64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64BE(value);
  return bytes;
}

async function put(node: TwinlogNode, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await node.admin("POST", "/topics/T/messages", { body: `message ${i}`.repeat(50) });
}

describe("hostile peers", () => {
  const directory = scratch("hostile");
  for (const runtime of RUNTIMES) {
    it(`are refused by a node on ${runtime}, and replication goes on`, { timeout: 180_000 }, async () => {
      const common = ["--mapped-file-size-commit-log", String(4 * MIB)];
      const master = await startTwinlog({
        runtime,
        directory,
        store: path.join(directory, `${runtime}-m`),
        args: ["--role", "master", ...common],
      });
      const slave = await startTwinlog({
        runtime,
        directory,
        store: path.join(directory, `${runtime}-s`),
        args: ["--role", "slave", "--master", master.addresses.ha, ...common],
      });
      await put(master, 50);
      await slave.waitForMax((await master.ha()).maxOffset);
      const { ha, remoting, admin } = master.addresses;
      const memoryBefore = master.process.anonymousMemory();

      // Offsets that can't be: negative, beyond 2^53, far beyond the log.
      for (const offset of [-1n, -(2n ** 63n), 2n ** 63n - 1n, 2n ** 53n]) {
        assert.equal(await sendAndSee(ha, int64(offset), 5000), "closed", `a first report of ${offset}`);
      }
      // An acknowledgement of what was never sent.
      assert.equal(
        await sendAndSee(ha, Buffer.concat([int64(0n), int64(2n ** 40n)]), 9000),
        "closed",
        "an ack beyond the log",
      );
      assert.equal(
        (await master.ha()).slaves.every((one: { slaveAckOffset: number }) => one.slaveAckOffset < 2 ** 40),
        true,
      );
      for (let i = 0; i < 30; i++) {
        await sendAndSee(ha, randomBytes(8 * (1 + i)), 1500);
        await sendAndSee(remoting, Buffer.concat([Buffer.from([0x7f, 0xff, 0xff, 0xff]), randomBytes(100)]), 1500);
        await sendAndSee(admin, randomBytes(200), 1500);
      }
      assert.equal(
        await sendAndSee(remoting, Buffer.from([0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1]), 5000),
        "closed",
        "a frame of 2 GiB",
      );
      // Early close, at every byte of a report.
      for (let size = 0; size < 8; size++) {
        const socket = await connect(ha);
        socket.end(Buffer.alloc(size));
        await once(socket.resume(), "close");
      }

      // A thousand at once, silent.
      for (const address of [ha, admin, remoting]) {
        const crowd = await Promise.all(Array.from({ length: 1000 }, () => connect(address).catch(() => null)));
        await put(master, 20);
        await slave.waitForMax((await master.ha()).maxOffset, 20_000);
        for (const socket of crowd) socket?.destroy();
      }
      await put(master, 20);
      const { maxOffset } = await master.ha();
      await slave.waitForMax(maxOffset);
      assertSameLog(master.store, slave.store, 0, maxOffset, 4 * MIB);
      await until("connections to be gone", 30_000, async () => (await master.ha()).slaves.length === 1);
      const grown = master.process.anonymousMemory() - memoryBefore;
      assert.ok(grown < 150 * MIB, `memory grew by ${(grown / MIB).toFixed(0)} MiB`);
      const metrics = await (await fetch(`http://${admin}/metrics`)).text();
      assert.match(metrics, /twinlog_ha_connections_refused_total\{[^}]*reason=/, "refusals are counted by reason");
      for (const node of [slave, master]) {
        assert.equal(await node.process.stop(), 0, node.process.output().slice(-2000));
      }
    });
  }
});
