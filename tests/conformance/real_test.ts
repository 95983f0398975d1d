// The conformance suites on the runtime that runs this file, over the real machine.

import { execFileSync, spawn } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import process from "node:process";
import { after } from "node:test";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { runClockConformance } from "./clock_suite.ts";
import type { Abilities, Conduct, SilentPeer } from "./env.ts";
import { runFsConformance } from "./fs_suite.ts";
import { runHttpConformance } from "./http_suite.ts";
import { runNetConformance } from "./net_suite.ts";
import { tlsNet } from "../support/tls.ts";

const HOSTNAME = "127.0.0.1";
const runtime = await loadRuntime();
const root = fs.mkdtempSync(`${os.tmpdir()}/twinlog-conformance-`);
const smallDisk = mountSmallDisk(`${root}/small`);
after(() => {
  if (smallDisk === true) execFileSync("umount", [`${root}/small`]);
  fs.rmSync(root, { recursive: true, force: true });
});

const abilities: Abilities = {
  silentPeer: os.platform() === "linux" ? true : "a full backlog is silent only on Linux",
  smallDisk,
  halfClose: true,
  lastWords: true,
};
const tlsAbilities: Abilities = {
  ...abilities,
  halfClose: runtime.name === "bun" ? "Bun's TLS ends both directions at once" : true,
  lastWords: "TLS 1.3 tickets that nobody read reset the connection",
};

const conduct: Conduct = (body) => conductOn(runtime, body);
const conductTls: Conduct = (body) => conductOn({ ...runtime, net: tlsNet(runtime.net) }, body);

const conductOn = async (runtime: Runtime, body: Parameters<Conduct>[0]): Promise<void> => {
  const directory = fs.mkdtempSync(`${root}/test-`);
  await body({
    runtime,
    hostname: HOSTNAME,
    directory,
    fetch: (url, init) => fetch(url, init),
    silentPeer,
    smallDiskDirectory: () => `${root}/small`,
  });
};

function mountSmallDisk(path: string): true | string {
  if (os.platform() !== "linux" || os.userInfo().uid !== 0) return "mounting a tmpfs takes root on Linux";
  fs.mkdirSync(path);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", path], { stdio: "ignore" });
    return true;
  } catch {
    return "mounting a tmpfs is not permitted here";
  }
}

// A stopped process that listens: once its backlog is full, Linux drops further requests without an answer.
async function silentPeer(): Promise<SilentPeer> {
  const script = `${root}/silent_peer.mjs`;
  fs.writeFileSync(
    script,
    `
    import net from "node:net";
    import fs from "node:fs";
    import process from "node:process";
    const server = net.createServer();
    server.listen({ host: "${HOSTNAME}", port: 0, backlog: 1 }, () => {
      fs.writeSync(1, server.address().port + "\\n");
      process.kill(process.pid, "SIGSTOP");
    });
  `,
  );
  const args = runtime.name === "deno" ? ["run", "-A", script] : [script];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "ignore"] });
  const port = await new Promise<number>((resolve) => {
    child.stdout.once("data", (line: Uint8Array) => resolve(Number(new TextDecoder().decode(line))));
  });
  const sockets: net.Socket[] = [];
  while (sockets.length < 5_000) {
    const socket = net.connect({ host: HOSTNAME, port });
    socket.on("error", () => {});
    sockets.push(socket);
    // Only those the backlog holds ever connect; the first one that does not says that it is full.
    const connected = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      runtime.clock.setTimer(200, () => resolve(false));
    });
    if (!connected) break;
  }
  return {
    hostname: HOSTNAME,
    port,
    async release() {
      for (const socket of sockets) socket.destroy();
      const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
      child.kill("SIGKILL");
      await gone;
    },
  };
}

runClockConformance(runtime.name, conduct);
runFsConformance(runtime.name, conduct, abilities);
runNetConformance(runtime.name, conduct, abilities);
runNetConformance(`${runtime.name} with TLS`, conductTls, tlsAbilities);
runHttpConformance(runtime.name, conduct);

// Node's own server either way; on Deno and Bun another one than without a gate.
const gate = { admits: () => true, onClosed: () => {}, headTimeMs: 10_000 };
const gated: Runtime = {
  ...runtime,
  serveHttp: (options, handler) => runtime.serveHttp({ ...options, gate }, handler),
};
runHttpConformance(`${runtime.name} with a gate`, (body) => conductOn(gated, body));
