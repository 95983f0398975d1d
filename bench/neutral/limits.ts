// What a runtime can do at most with a socket and a file: the far ends of limits.c once more, with the runtime's own calls
// and none of our engine. Runs by itself on Deno, Bun and Node, and prints the same JSON lines.
//
//   limits.ts receive PORT TOTAL CHUNK        limits.ts store PORT TOTAL CHUNK FILE
//   limits.ts answer PORT                     limits.ts pwrite FILE TOTAL CHUNK

import { Buffer } from "node:buffer";
import * as fs from "node:fs";
import * as net from "node:net";
import process from "node:process";

/** Takes what came, which is only lent; answers with what to send back. */
type Handler = (bytes: Uint8Array) => Uint8Array | null;

/** What is used of the global `Deno`. */
interface DenoApi {
  connect(options: { hostname: string; port: number }): Promise<{
    read(target: Uint8Array): Promise<number | null>;
    write(bytes: Uint8Array): Promise<number>;
    setNoDelay(): void;
  }>;
}

/** What is used of the global `Bun`. */
interface BunApi {
  connect(options: {
    hostname: string;
    port: number;
    socket: {
      open(socket: BunSocket): void;
      data(socket: BunSocket, bytes: Uint8Array): void;
      close(): void;
      error(socket: BunSocket, error: Error): void;
    };
  }): Promise<unknown>;
}

interface BunSocket {
  write(bytes: Uint8Array): number;
  setNoDelay(): void;
}

const { Deno: deno, Bun: bun } = globalThis as unknown as { Deno?: DenoApi; Bun?: BunApi };
const hostname = "127.0.0.1";
const ONE_BYTE = new Uint8Array(1);

/** Connects and handles what comes, `chunk` bytes at most at a time, until the near end closes. */
function exchange(port: number, chunk: number, handle: Handler): Promise<void> {
  if (deno !== undefined) return exchangeOnDeno(deno, port, chunk, handle);
  return bun !== undefined ? exchangeOnBun(bun, port, handle) : exchangeOnNode(port, chunk, handle);
}

async function exchangeOnDeno(deno: DenoApi, port: number, chunk: number, handle: Handler): Promise<void> {
  const conn = await deno.connect({ hostname, port });
  conn.setNoDelay();
  const buffer = new Uint8Array(chunk);
  for (let count; (count = await conn.read(buffer)) !== null;) {
    const answer = handle(buffer.subarray(0, count));
    if (answer !== null) await conn.write(answer);
  }
}

/** Bun chooses the buffers, of 512 KiB at most. */
function exchangeOnBun(bun: BunApi, port: number, handle: Handler): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = {
      open: (socket: BunSocket) => socket.setNoDelay(),
      data(socket: BunSocket, bytes: Uint8Array) {
        const answer = handle(bytes);
        if (answer !== null) socket.write(answer);
      },
      close: () => resolve(),
      error: (_: BunSocket, error: Error) => reject(error),
    };
    bun.connect({ hostname, port, socket }).catch(reject);
  });
}

function exchangeOnNode(port: number, chunk: number, handle: Handler): Promise<void> {
  return new Promise((resolve, reject) => {
    const onread = {
      buffer: Buffer.allocUnsafeSlow(chunk),
      callback(count: number, buffer: Uint8Array): boolean {
        const answer = handle(buffer.subarray(0, count));
        if (answer !== null) socket.write(answer);
        return true;
      },
    };
    const socket = net.connect({ host: hostname, port, noDelay: true, onread });
    socket.on("error", reject).on("close", () => resolve()).resume();
  });
}

function pwrite(file: number, bytes: Uint8Array, at: number): void {
  const count = fs.writeSync(file, bytes, 0, bytes.length, at);
  if (count !== bytes.length) throw new Error(`Write at ${at} took ${count} bytes, wanted ${bytes.length}`);
}

function create(path: string, total: number): number {
  const file = fs.openSync(path, "w+");
  fs.ftruncateSync(file, total);
  return file;
}

/** CPU of all threads since `before`, as a member of a result. */
function cpuSince(before: NodeJS.CpuUsage): { cpuSeconds: number } {
  const { user, system } = process.cpuUsage(before);
  return { cpuSeconds: (user + system) / 1e6 };
}

async function receive(port: number, total: number, chunk: number, path?: string): Promise<object> {
  const file = path === undefined ? null : create(path, total);
  const before = process.cpuUsage();
  let at = 0;
  await exchange(port, chunk, (bytes) => {
    if (file !== null) pwrite(file, bytes, at);
    at += bytes.length;
    return at === total ? ONE_BYTE : null;
  });
  const cpu = cpuSince(before);
  if (path !== undefined) fs.unlinkSync(path);
  return cpu;
}

async function answer(port: number): Promise<object> {
  const before = process.cpuUsage();
  await exchange(port, 8, (bytes) => bytes);
  return cpuSince(before);
}

function writeFile(path: string, total: number, chunk: number): object {
  const buffer = new Uint8Array(chunk).fill(7);
  const file = create(path, total);
  const before = process.cpuUsage();
  const start = performance.now();
  for (let at = 0; at < total; at += chunk) pwrite(file, buffer.subarray(0, Math.min(chunk, total - at)), at);
  const result = { bytes: total, seconds: (performance.now() - start) / 1000, ...cpuSince(before) };
  fs.unlinkSync(path);
  return result;
}

function run([what, first = "", ...rest]: string[]): object | Promise<object> {
  const [total = 0, chunk = 0] = rest.map(Number);
  switch (what) {
    case "receive":
    case "store":
      return receive(Number(first), total, chunk, rest[2]);
    case "answer":
      return answer(Number(first));
    case "pwrite":
      return writeFile(first, total, chunk);
    default:
      throw new Error(`There is no "${what}", see the first lines of limits.ts`);
  }
}

console.log(JSON.stringify(await run(process.argv.slice(2))));
process.exit(0);
