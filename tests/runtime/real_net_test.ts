// The current runtime's sockets against peers that are not ours: a reset without unread bytes, a peer of single bytes,
// descriptors given back, and the memory of a connection nobody reads.

import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import process from "node:process";
import { after, before, describe, it } from "node:test";
import { sleep } from "../../src/base/async.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Connection, Listener } from "../../src/runtime/runtime.ts";
import { closePair, connectPair, pattern, readExactly, readPatternToEnd, rejectsWith } from "../conformance/support.ts";
import type { ConformanceEnv } from "../conformance/env.ts";

const HOSTNAME = "127.0.0.1";
const runtime = await loadRuntime();
const env = { runtime, hostname: HOSTNAME } as unknown as ConformanceEnv;
const MIB = 1024 * 1024;
// A process of its own, over the runtime's node:net, which can reset a connection at will.
const PEER = `
  import net from "node:net";
  import process from "node:process";
  const [mode, port] = process.argv.slice(2);
  const socket = net.connect({ host: "${HOSTNAME}", port: Number(port), noDelay: true });
  socket.on("error", () => {});
  if (mode === "gone") socket.once("connect", () => socket.resetAndDestroy());
  socket.once("data", () => {
    if (mode === "reset") socket.resetAndDestroy();
    else for (let i = 0; i < 1000; i++) socket.write(new Uint8Array([i % 251]));
    if (mode === "bytes") socket.end();
  });`;
const directory = fs.mkdtempSync(`${os.tmpdir()}/twinlog-net-`);
after(() => fs.rmSync(directory, { recursive: true, force: true }));

describe(`${runtime.name}: sockets against a foreign peer`, () => {
  let listener: Listener;
  before(async () => {
    listener = await runtime.net.listen({ hostname: HOSTNAME, port: 0 });
  });
  after(() => listener.close());

  const withPeer = async (mode: string, body: (connection: Connection) => Promise<void>): Promise<void> => {
    const script = `${directory}/peer.mjs`;
    fs.writeFileSync(script, PEER);
    const args = [...(runtime.name === "deno" ? ["run", "-A"] : []), script, mode, String(listener.address.port)];
    const child = spawn(process.execPath, args, { stdio: "inherit" });
    const exit = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    const connection = await listener.accept();
    assert.ok(connection);
    await body(connection);
    connection.close();
    await exit;
  };

  it("fails a pending read with reset", () =>
    withPeer("reset", async (connection) => {
      const reading = connection.read();
      await connection.write(pattern(1));
      await rejectsWith(reading, "reset");
      await connection.closed;
      await rejectsWith((async () => await connection.read())(), "reset");
      await rejectsWith((async () => await connection.write(pattern(1)))(), "reset");
    }));

  it("fails a later read with reset", () =>
    withPeer("reset", async (connection) => {
      await connection.write(pattern(1));
      await sleep(runtime.clock, 50);
      await rejectsWith(connection.read(), "reset");
    }));

  it("accepts a connection that was reset before anybody looked", async () => {
    const script = `${directory}/gone.mjs`;
    fs.writeFileSync(script, PEER);
    const args = [...(runtime.name === "deno" ? ["run", "-A"] : []), script, "gone", String(listener.address.port)];
    // Blocks this event loop, so the peer is there and gone in between.
    assert.equal(spawnSync(process.execPath, args).status, 0);
    const client = await runtime.net.connect({ ...listener.address, timeoutMs: 5_000 });
    for (let isClient = false; !isClient;) {
      const connection = await listener.accept();
      assert.ok(connection);
      // It may be accepted as one that is over, or not at all; its address may be unknown, but is always a text.
      assert.equal(typeof connection.remoteAddress.hostname, "string");
      assert.equal(typeof connection.remoteAddress.port, "number");
      assert.equal(typeof connection.localAddress.hostname, "string");
      isClient = connection.remoteAddress.port === client.localAddress.port;
      connection.close();
    }
    client.close();
  });

  it("reads what a peer writes byte by byte", () =>
    withPeer("bytes", async (connection) => {
      await connection.write(pattern(1));
      assert.equal(await readPatternToEnd(connection), 1_000);
    }));
});

describe(`${runtime.name}: sockets and resources`, () => {
  const onLinux = os.platform() === "linux" ? it : it.skip;

  onLinux("gives back the descriptors of closed connections", async () => {
    const openFiles = (): number => fs.readdirSync("/proc/self/fd").length;
    const round = async (): Promise<void> => {
      const pairs = [];
      for (let i = 0; i < 50; i++) pairs.push(await connectPair(env));
      for (const [i, pair] of pairs.entries()) {
        if (i % 3 === 0) pair.client.write(new Uint8Array(16 * MIB)).catch(() => {});
        if (i % 3 === 1) pair.server.read().catch(() => {});
        closePair(pair);
      }
      await Promise.all(pairs.flatMap(({ client, server }) => [client.closed, server.closed]));
    };
    await round();
    const before = openFiles();
    await round();
    await waitUntil(() => openFiles() <= before + 5);
  });

  it("holds little memory for a connection that nobody reads", async () => {
    const pair = await connectPair(env);
    const piece = pattern(MIB);
    await Promise.all([pair.client.write(piece), readExactly(pair.server, piece.length)]);
    const before = runtime.process.memory().residentBytes;
    let accepted = 0;
    const writing = (async () => {
      while (true) {
        await pair.client.write(piece);
        accepted += piece.length;
      }
    })();
    let last = -1;
    while (accepted !== last) {
      last = accepted;
      await sleep(runtime.clock, 100);
    }
    assert.ok(accepted < 24 * MIB);
    assert.ok(runtime.process.memory().residentBytes - before < 32 * MIB);
    pair.server.close();
    await rejectsWith(writing, "reset");
    closePair(pair);
  });

  it("does not keep a name that does not resolve", async () => {
    await rejectsWith(
      runtime.net.connect({ hostname: "no-such-host.invalid", port: 1, timeoutMs: 10_000 }).then(
        (connection) => connection.close(),
      ),
      "other",
    );
  });

  it("refuses to listen on an address that is not ours", async () => {
    await rejectsWith(runtime.net.listen({ hostname: "192.0.2.1", port: 0 }), "noAddress");
  });
});

async function waitUntil(condition: () => boolean): Promise<void> {
  const deadline = runtime.clock.monotonic() + 10_000;
  while (!condition()) {
    assert.ok(runtime.clock.monotonic() < deadline, `Still waiting in process ${process.pid}`);
    await sleep(runtime.clock, 10);
  }
}
