// Whole nodes in the simulated world among hostile peers: clients that say anything to any port, and a master that
// sends anything. Whatever comes, a node lives on, writes below its store only, says what happened in clean lines, tells
// no secret, and leaves a store behind that verifies.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { createAdminApp } from "../../src/admin/admin_app.ts";
import { concatBytes, readInt64, utf8, writeInt32, writeInt64 } from "../../src/base/bytes.ts";
import { createLogger } from "../../src/base/logger.ts";
import { type BrokerNode, startBroker } from "../../src/broker/broker_controller.ts";
import { createConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { createResponse, encodeFrame } from "../../src/remoting/remoting_command.ts";
import { FrameDecoder } from "../../src/remoting/frame_decoder.ts";
import type { Connection, FileSystem } from "../../src/runtime/runtime.ts";
import { type SimulatedHost, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { verifyStore } from "../../src/store/store_verify.ts";
import { QUICK } from "../sim/cluster.ts";
import { bent, SETTINGS } from "./fuzz.ts";
import { steers } from "./properties.ts";
import { ADMIN } from "./targets/admin.ts";
import { REPORT, TRANSFER } from "./targets/ha_frames.ts";
import { javaJsonText } from "./targets/java_json.ts";
import { logsOf } from "./targets/records.ts";
import { FRAMES } from "./targets/remoting.ts";

const TOKEN = "sesame-0123456789";
const FILE_SIZE = 16 * 1024;
const REMOTING = 10911;
const VIP = 10909;
const HA = 10912;
/** A peer that repeats itself must not fill the log output. */
const LINES_MAX = 600;

/** A node, what it said, and what ended it. */
class Target {
  readonly host: SimulatedHost;
  readonly lines: string[] = [];
  readonly fatal: unknown[] = [];
  broker!: BrokerNode;
  readonly #world: SimulatedWorld;

  constructor(world: SimulatedWorld, name: string) {
    this.#world = world;
    this.host = world.host(name, { env: { TWINLOG_ADMIN_TOKEN: TOKEN } });
  }

  async start(options: Partial<Config>): Promise<void> {
    const { runtime } = this.host;
    const { config } = createConfig(
      { ...QUICK, brokerName: "b", mappedFileSizeCommitLog: FILE_SIZE, ...options },
      runtime.process,
    );
    const logger = createLogger({
      write: (line) => this.lines.push(line),
      now: () => runtime.clock.now(),
      json: false,
      level: "debug",
    });
    const onFatal = (error: unknown) => void this.fatal.push(error);
    this.broker = await this.#world.drive(startBroker({ config, runtime, logger, onFatal }));
  }

  /**
   * Stops it and looks at what it left. Of a log that is somebody else's (`isOwn` false) two things are taken as they come:
   * queue offsets that leave records without a unit, and a property that looks like a record's CRC.
   */
  async endsWell(isOwn = true): Promise<void> {
    assert.deepEqual(this.fatal, [], "The node could not go on");
    await this.#world.drive(this.broker.stop());
    const { fs } = this.host.runtime;
    assert.deepEqual(fs.list("/"), ["store"], "Something was written outside the store");
    for (const path of pathsOf(fs, "/store")) assert.match(path, PATHS, `Made ${JSON.stringify(path)}`);
    assert.ok(this.lines.length < LINES_MAX, `Said ${this.lines.length} lines`);
    for (const line of this.lines) {
      heard.add(line);
      assert.ok(!steers(line.slice(0, -1)) && line.endsWith("\n"), `Said ${JSON.stringify(line)}`);
      assert.ok(line.length < 2000 && !line.includes(TOKEN), `Said ${JSON.stringify(line.slice(0, 300))}`);
      assert.ok(!/Request failed|stopped accepting|Stopping failed/.test(line), line);
    }
    const { finding } = await this.#world.drive(verifyStore(fs, "/store", { maxHashSlotNum: 50, maxIndexNum: 600 }));
    if (isOwn || !["consumeQueue", "queueOffset", "__CRC32#"].includes(finding?.field ?? "")) {
      assert.deepEqual(finding, null);
    }
  }
}

/** What all nodes said: proof that the hostile part arrived. */
const heard = new Set<string>();

function assertHeard(...patterns: RegExp[]): void {
  if (SETTINGS.percent < 100) return;
  for (const pattern of patterns) assert.ok([...heard].some((line) => pattern.test(line)), `No node said ${pattern}`);
}

/** What a store consists of. */
const PATHS =
  /^\/store(\/(lock|abort(\.bak)?|checkpoint|twinlog\.(clean|owner(\.\d+)?)|commitlog(\/\d{20})?|index(\/\d{17})?|consumequeue(\/[^/]+(\/\d{1,10}(\/\d{20})?)?)?|timerwheel|timerlog(\/\d{20})?|config(\/(\w+\.json(\.bak)?|timercheck|timermetrics(\.bak)?))?))?$/s;

function pathsOf(fs: FileSystem, path: string): string[] {
  if (fs.stat(path)?.isDirectory !== true) return [path];
  return [path, ...fs.list(path).flatMap((name) => pathsOf(fs, `${path}/${name}`))];
}

/** Bytes for a socket, in pieces. */
const pieces = fc.tuple(
  fc.oneof(bent(FRAMES.inputs), bent(REPORT.inputs), bent(TRANSFER.inputs), fc.uint8Array({ maxLength: 100 })),
  fc.nat(40),
);

/** Sends bytes in two pieces; the connection stays, is ended, or is closed. */
async function attack(
  host: SimulatedHost,
  target: Target,
  port: number,
  bytes: Uint8Array,
  cut: number,
): Promise<void> {
  try {
    const socket = await host.runtime.net.connect({ hostname: target.host.address, port, timeoutMs: 1000 });
    await socket.write(bytes.slice(0, cut));
    await socket.write(bytes.slice(cut));
    if (cut % 3 === 0) socket.close();
    else if (cut % 3 === 1) await socket.shutdownWrite();
    while (await socket.read() !== null);
    socket.close();
  } catch {
    // The node has closed it, as it may.
  }
}

const runs = (count: number) => Math.max(1, Math.ceil((count * SETTINGS.percent) / 100));

describe("nodes among hostile peers", () => {
  const ports = fc.constantFrom(REMOTING, VIP, HA);
  const attacks = fc.array(fc.tuple(ports, pieces, fc.boolean()), { minLength: 4, maxLength: 14 });
  const requests = fc.array(bent(ADMIN.inputs), { maxLength: 6 });

  it(`live on whatever clients say to any port, ${runs(50)} worlds, seed ${SETTINGS.seed}`, async () => {
    const property = fc.asyncProperty(fc.nat(1_000_000), attacks, requests, async (seed, list, asks) => {
      const world = new SimulatedWorld(seed);
      const [master, slave] = [new Target(world, "master"), new Target(world, "slave")];
      await master.start({});
      await slave.start({ brokerRole: "SLAVE", brokerId: 1, haMasterAddress: `${master.host.address}:${HA}` });
      const attacker = world.host("attacker");
      const all = list.map(([port, [bytes, cut], isSlave]) =>
        attack(attacker, isSlave ? slave : master, port, bytes, cut)
      );
      for (const input of asks) await ask(world, master, input);
      await world.advance(4000);
      for (const node of [master, slave]) assert.ok(node.broker.admin.status().maxOffset >= 0);
      await slave.endsWell();
      await master.endsWell();
      await world.drive(Promise.all(all));
    });
    await fc.assert(property, { seed: SETTINGS.seed, numRuns: runs(50), endOnFailure: true });
    assertHeard(/reason=garbage/, /Refused HA peer/);
  });

  it(`live on whatever their master sends, ${runs(100)} worlds, seed ${SETTINGS.seed}`, async () => {
    const script = fc.tuple(
      fc.nat(1_000_000),
      bent(logsOf(FILE_SIZE)),
      bent(javaJsonText.map(utf8.encode)),
      fc.integer({ min: 30, max: 700 }),
    );
    const property = fc.asyncProperty(script, async ([seed, log, tables, frameSize]) => {
      const world = new SimulatedWorld(seed);
      const slave = new Target(world, "slave");
      const host = world.host("master");
      void hostileMaster(host, log, tables, frameSize);
      await slave.start({ brokerRole: "SLAVE", brokerId: 1, haMasterAddress: `${host.address}:${HA}` });
      await world.advance(9000);
      const held = slave.broker.admin.status().maxOffset;
      assert.ok(held <= log.length + FILE_SIZE);
      await slave.endsWell(false);
      host.kill();
    });
    await fc.assert(property, { seed: SETTINGS.seed, numRuns: runs(100), endOnFailure: true });
    assertHeard(/record at \d+ is refused/, /can't have a consume queue/, /Can't copy tables/);
  });

  it("keep topics with any name inside the store", async () => {
    const world = new SimulatedWorld(7);
    const node = new Target(world, "node");
    await node.start({});
    const app = createAdminApp(node.broker.admin, appOptions(node));
    for (
      const topic of [
        "..",
        "../../etc",
        "..%2f..%2fetc",
        "%2e%2e%2fx",
        "a%00b",
        "a%0ab",
        ".",
        "%5c..%5cx",
        "x".repeat(128),
        "__proto__",
      ]
    ) {
      for (const method of ["POST", "GET"]) {
        const init = {
          method,
          ...(method === "POST" ? { body: '{"body":"x"}', headers: { "content-type": "application/json" } } : {}),
        };
        const response = await world.drive(
          Promise.resolve(app.fetch(new Request(`http://127.0.0.1/topics/${topic}/messages?offset=0`, init))),
        );
        assert.ok(response.status < 500);
        if (topic !== "__proto__") assert.notEqual(response.status, 200, topic);
      }
    }
    await world.advance(1000);
    const { fs } = node.host.runtime;
    assert.deepEqual(fs.list("/store/consumequeue"), ["__proto__"]);
    await node.endsWell();
  });
});

function appOptions(target: Target) {
  return { token: null, clock: target.host.runtime.clock, ending: AbortSignal.abort() };
}

/** One request to a real node; it may switch the role or follow somebody else, and that is answered too. */
async function ask(world: SimulatedWorld, target: Target, input: Uint8Array): Promise<void> {
  const lineEnd = input.indexOf(0x0a, 2);
  const path = utf8.decode(input.subarray(2, lineEnd < 0 ? input.length : lineEnd));
  const method = ["GET", "POST", "PUT", "PATCH"][(input[0] ?? 0) % 4]!;
  const body = method === "GET" || lineEnd < 0 ? {} : { body: input.slice(lineEnd + 1) };
  const url = `http://127.0.0.1${path.startsWith("/") ? "" : "/"}${path}`;
  if (!URL.canParse(url) || new URL(url).pathname === "/events") return;
  const request = new Request(url, { method, headers: { "content-type": "application/json" }, ...body });
  const app = createAdminApp(target.broker.admin, appOptions(target));
  const response = await world.drive(Promise.resolve(app.fetch(request)));
  const text = await world.drive(response.text());
  assert.ok(
    ![500, 502].includes(response.status) || /PUT|CREATE|UNKNOWN/.test(text),
    `${method} ${path}: ${text.slice(0, 300)}`,
  );
  assert.ok(!text.includes(TOKEN), "An answer holds the token");
}

/** Listens as a master does: any request of the log is answered with `log`, in frames; any question with `tables`. */
async function hostileMaster(
  host: SimulatedHost,
  log: Uint8Array,
  tables: Uint8Array,
  frameSize: number,
): Promise<void> {
  const { net } = host.runtime;
  const [ha, remoting] = [
    await net.listen({ hostname: "0.0.0.0", port: HA }),
    await net.listen({ hostname: "0.0.0.0", port: REMOTING }),
  ];
  await Promise.all([
    serve(ha, async (socket) => {
      const request = await socket.read();
      if (request === null || request.length < 8) return;
      const frames: Uint8Array[] = [];
      const from = Math.min(Math.max(0, readInt64(request, 0)), log.length);
      for (let at = from; at < log.length; at += frameSize) frames.push(frameOf(at, log.subarray(at, at + frameSize)));
      await socket.write(concatBytes(frames));
      while (await socket.read() !== null);
    }),
    serve(remoting, async (socket) => {
      const decoder = new FrameDecoder();
      for (let bytes = await socket.read(); bytes !== null; bytes = await socket.read()) {
        decoder.push(bytes);
        for (let request = decoder.next(); request !== null; request = decoder.next()) {
          const range = utf8.encode(`{"table":{"commitLogMinOffset":"0","commitLogMaxOffset":"${log.length}"}}`);
          const remark = utf8.decode(tables).slice(0, 200);
          await socket.write(
            encodeFrame(
              createResponse(request, tables.length % 5 === 0 ? 1 : 0, {
                remark,
                body: request.code === 28 ? range : tables,
              }),
            ),
          );
        }
      }
    }),
  ]);
}

async function serve(
  listener: { accept(): Promise<Connection | null> },
  each: (socket: Connection) => Promise<void>,
): Promise<void> {
  for (let socket = await listener.accept(); socket !== null; socket = await listener.accept()) {
    const open = socket;
    void each(open).catch(() => undefined).then(() => open.close());
  }
}

function frameOf(offset: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + body.length);
  writeInt64(bytes, 0, offset);
  writeInt32(bytes, 8, body.length);
  bytes.set(body, 12);
  return bytes;
}
