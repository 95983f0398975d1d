// What a request costs before and after its processor: frames taken apart and made, each alone, and then all of it over
// loopback TCP, with the neutral producer of bench/neutral at the other end and a processor that only answers. Under
// `deno bench` the first part alone.

import { SILENT_LOGGER } from "../src/base/logger.ts";
import { RemotingServer } from "../src/remoting/remoting_server.ts";
import { FrameDecoder } from "../src/remoting/frame_decoder.ts";
import { OutboundQueue } from "../src/remoting/outbound_queue.ts";
import {
  createRequest,
  createResponse,
  encodeFrame,
  type RemotingCommand,
  SerializeType,
} from "../src/remoting/remoting_command.ts";
import { RequestCode } from "../src/remoting/request_code.ts";
import { loadRuntime } from "../src/runtime/detect.ts";
import { compile, Peer, type PeerResult } from "./lib/peer.ts";
import { runBenchmarks } from "./shim.ts";

const isSmoke = process.argv.includes("--smoke");
const BODY_SIZE = 1024;
/** Frames decoded in one call: what one read brings. */
const FRAMES = 50;

/** What a Java client sends: its names of one letter, and the properties in one of them. */
function sendRequest(index: number): RemotingCommand {
  const ext = {
    a: "bench_producer",
    b: "BenchmarkTest",
    c: "TBW102",
    d: 4,
    e: index % 8,
    f: 0,
    g: 1_760_000_000_000 + index,
    h: 0,
    i: `UNIQ_KEY\u00017F00000100001B6D3C4D0000${index.toString(16).padStart(8, "0")}\u0002WAIT\u0001true`,
    j: 0,
    k: false,
    m: false,
    n: "broker-a",
  };
  return { ...createRequest(RequestCode.SEND_MESSAGE_V2, ext, new Uint8Array(BODY_SIZE)), opaque: index };
}

function sendAnswer(request: RemotingCommand): RemotingCommand {
  return createResponse(request, 0, {
    ext: {
      msgId: "7F00000100002A9F0000000000A1B2C3",
      queueId: request.extFields.get("e"),
      queueOffset: 123_456,
      MSG_REGION: "DefaultRegion",
      TRACE_ON: true,
    },
  });
}

function glue(frames: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(frames));
}

const requests = Array.from({ length: FRAMES }, (_, index) => sendRequest(index));
const jsonFrames = glue(requests.map((request) => encodeFrame(request)));
const binaryFrames = glue(requests.map((request) => encodeFrame(request, SerializeType.ROCKETMQ)));
const answer = sendAnswer(requests[0]!);
const oddAnswer: RemotingCommand = { ...answer, remark: "Не так" };
const pulled = new Uint8Array(256 * 1024);

function pullOf(size: number): RemotingCommand {
  return { ...answer, body: pulled.subarray(0, size) };
}

function decode(bytes: Uint8Array): void {
  const decoder = new FrameDecoder();
  decoder.push(bytes);
  let count = 0;
  while (decoder.next() !== null) count++;
  if (count !== FRAMES) throw new Error(`Decoded ${count} frames, wanted ${FRAMES}`);
}

const queue = new OutboundQueue();
/** The answers of one turn, up to the write. */
function encode(answers: number, each: RemotingCommand): void {
  for (let i = 0; i < answers; i++) queue.push(each);
  while (queue.front() !== null) queue.written();
}

function times(count: number, fn: () => void): () => void {
  return () => {
    for (let i = 0; i < count; i++) fn();
  };
}

/** One run of the neutral producer against a server here; what the server spent on it. */
async function loopback(connections: number, inFlight: number, bodySize: number): Promise<void> {
  const { net, clock, name } = await loadRuntime();
  const processors = new Map([[
    RequestCode.SEND_MESSAGE_V2,
    (request: RemotingCommand) => Promise.resolve(sendAnswer(request)),
  ]]);
  const server = new RemotingServer({ net, clock, logger: SILENT_LOGGER, processors, hostname: "127.0.0.1", port: 0 });
  const { port } = await server.start();
  const [count, warmUp] = isSmoke ? [500, 100] : [200_000, 50_000];
  const peer = new Peer("send_peer", [port, "BenchmarkTest", 8, connections, inFlight, bodySize, count, warmUp]);
  let result: PeerResult;
  const before = process.cpuUsage();
  try {
    result = await peer.result();
  } finally {
    await peer.destroy();
    await server.stop();
  }
  const spent = process.cpuUsage(before);
  if (result.sends !== count || result.failed !== 0) throw new Error(`Not all was answered: ${JSON.stringify(result)}`);
  const cpuUs = (spent.user + spent.system) / (count + warmUp);
  console.log(
    `loopback   ${name}, ${connections} connections, ${inFlight} in flight, ${bodySize} bytes`.padEnd(62) +
      `${Math.round(result.sendsPerSecond!).toString().padStart(8)} requests/s  ${cpuUs.toFixed(2)} µs CPU each  ` +
      `p50 ${result.p50us} µs  p99 ${result.p99us}  p99.9 ${result.p999us}`,
  );
}

/** Whether there is a C compiler. */
function canCompile(): boolean {
  try {
    compile("send_peer");
    return true;
  } catch {
    return false;
  }
}

if ((import.meta as { main?: boolean }).main) {
  if (canCompile()) {
    await loopback(1, 64, BODY_SIZE);
    await loopback(1, 1, BODY_SIZE);
    await loopback(16, 256, BODY_SIZE);
    await loopback(1, 64, 16 * 1024);
  } else console.log("loopback   left out: it needs cc");
}
await runBenchmarks(import.meta, [
  { name: "decode 50 sends, JSON", group: "frames", bytes: jsonFrames.length, fn: () => decode(jsonFrames) },
  { name: "decode 50 sends, binary", group: "frames", bytes: binaryFrames.length, fn: () => decode(binaryFrames) },
  { name: "encode 50 answers", group: "frames", fn: () => encode(FRAMES, answer) },
  { name: "encode 50 answers, a name not in ASCII", group: "frames", fn: () => encode(FRAMES, oddAnswer) },
  { name: "encode a pull of 32 KiB", group: "frames", fn: () => encode(1, pullOf(32 * 1024)) },
  { name: "encode a pull of 256 KiB", group: "frames", fn: () => encode(1, pullOf(256 * 1024)) },
  { name: "make 50 answers", group: "frames", fn: times(FRAMES, () => void sendAnswer(requests[0]!)) },
]);
