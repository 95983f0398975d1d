// Every route of the admin API over a fake node, without a socket: answers, refusals, the token, hostile input.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deflateSync } from "node:zlib";
import { createAdminApp } from "../../src/admin/admin_app.ts";
import { sameText } from "../../src/admin/guard.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { FakePort, followingStatus, storedMessage } from "./fake_port.ts";

const BASE = "http://127.0.0.1:10913";

function setup(token: string | null = null) {
  const port = new FakePort();
  const clock = new ManualClock();
  const ending = new AbortController();
  const app = createAdminApp(port, { token, clock, ending: ending.signal });
  const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await app.request(`${BASE}${path}`, {
      method,
      ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
      headers: { ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers },
    });
    const text = await response.text();
    // deno-lint-ignore no-explicit-any
    const json: any = response.headers.get("content-type")?.startsWith("application/json") ? JSON.parse(text) : null;
    return { status: response.status, json, text, headers: response.headers };
  };
  return { port, clock, app, call, ending };
}

describe("probes", () => {
  it("is alive, and ready or not with the reason", async () => {
    const { port, call } = setup();
    assert.deepEqual((await call("GET", "/healthz")).json, { status: "alive" });
    assert.equal((await call("GET", "/readyz")).status, 200);
    port.notReady = "5 bytes behind";
    const answer = await call("GET", "/readyz");
    assert.equal(answer.status, 503);
    assert.deepEqual(answer.json, { error: "5 bytes behind" });
  });
});

describe("a request's signal", () => {
  it("is read by nobody: Deno would warn of it on stderr", async () => {
    const { app } = setup();
    const json = { "content-type": "application/json" };
    const requests = [
      ...["/", "/healthz", "/ha", "/config", "/topics", "/metrics", "/openapi.json"].map((path) => [path, {}] as const),
      ["/topics/T/messages", { method: "POST", body: JSON.stringify({ body: "x" }), headers: json }],
    ] as const;
    for (const [path, init] of requests) {
      const request = new Request(`${BASE}${path}`, init);
      let reads = 0;
      Object.defineProperty(request, "signal", { get: () => void reads++ });
      assert.equal((await app.fetch(request)).status, 200, path);
      assert.equal(reads, 0, path);
    }
  });
});

describe("/ha, /role, /ha/master-address, /fenced", () => {
  it("answers the figures", async () => {
    const { port, call } = setup();
    assert.deepEqual((await call("GET", "/ha")).json, JSON.parse(JSON.stringify(port.figures)));
    port.figures = followingStatus();
    assert.equal((await call("GET", "/ha")).json.master.verified, true);
  });

  it("switches the role, short names included", async () => {
    const { port, call } = setup();
    assert.equal((await call("PUT", "/role", { role: "master" })).status, 200);
    assert.equal(
      (await call("PUT", "/role", { role: "SLAVE", brokerId: 2, masterAddress: "[::1]:10912", force: true })).status,
      200,
    );
    assert.deepEqual(port.asked, [{ role: "ASYNC_MASTER" }, {
      role: "SLAVE",
      brokerId: 2,
      masterAddress: "[::1]:10912",
      force: true,
    }]);
  });

  it("answers 409 and the reason where the node refuses", async () => {
    const { port, call } = setup();
    port.outcome = { type: "refused", reason: "The master was heard 3 s ago" };
    for (
      const [path, body] of [["/role", { role: "master" }], ["/ha/master-address", { address: "a:1" }], ["/fenced", {
        fenced: true,
      }]] as const
    ) {
      const answer = await call("PUT", path, body);
      assert.equal(answer.status, 409, path);
      assert.deepEqual(answer.json, { error: "The master was heard 3 s ago" });
    }
  });

  it("changes the master address, null too, and fences", async () => {
    const { port, call } = setup();
    await call("PUT", "/ha/master-address", { address: "h:1" });
    await call("PUT", "/ha/master-address", { address: null });
    assert.equal((await call("PUT", "/fenced", { fenced: true })).json.fenced, true);
    assert.deepEqual(port.asked, [{ address: "h:1" }, { address: null }, { fenced: true }]);
  });

  it("refuses what is not a request with a clear 400", async () => {
    const { port, call } = setup();
    const bad: [string, unknown, RegExp][] = [
      ["/role", {}, /^role is .*, wanted /],
      ["/role", { role: "boss" }, /^role is "boss", wanted one of /],
      ["/role", { role: "SLAVE", brokerId: 0 }, /^brokerId is .*, wanted /],
      ["/role", { role: "SLAVE", brokerId: 1.5 }, /^brokerId is .*, wanted /],
      ["/role", { role: "SLAVE", masterAddress: "nowhere" }, /^masterAddress is "nowhere", wanted HOST:PORT/],
      ["/role", { role: "SLAVE", masterAdress: "a:1" }, /masterAdress/],
      ["/role", [], /^Body is .*, wanted /],
      ["/role", "null", /^Body is .*, wanted /],
      ["/role", "{", /Malformed JSON/],
      ["/ha/master-address", {}, /^address is .*, wanted /],
      ["/ha/master-address", { address: "a:0" }, /^address is .*, wanted /],
      ["/ha/master-address", { address: "a:65536" }, /^address is .*, wanted /],
      ["/ha/master-address", { address: "http://a:1" }, /^address is .*, wanted /],
      ["/fenced", { fenced: "yes" }, /^fenced is .*, wanted /],
    ];
    for (const [path, body, pattern] of bad) {
      const answer = await call("PUT", path, body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.match(answer.json.error, pattern);
    }
    assert.deepEqual(port.asked, []);
  });

  it("wants JSON, said as JSON", async () => {
    const { call } = setup();
    const answer = await call("PUT", "/role", '{"role":"master"}', { "content-type": "text/plain" });
    assert.ok([400, 415].includes(answer.status));
    assert.match(answer.json.error, /application\/json|Body/);
  });
});

describe("/config", () => {
  it("shows all keys and which are live", async () => {
    const { call } = setup();
    const { json } = await call("GET", "/config");
    assert.equal(json.config.haListenPort, 10912);
    assert.equal(json.config.haTransferBatchSize, null);
    assert.ok(json.live.includes("slaveTimeout"));
    assert.ok(!json.live.includes("listenPort"));
  });

  it("changes live keys, all or none", async () => {
    const { port, call } = setup();
    assert.equal(
      (await call("PATCH", "/config", { slaveTimeout: 77, haFlowControlEnable: true })).json.config.slaveTimeout,
      77,
    );
    assert.equal(port.config().haFlowControlEnable, true);
    const answer = await call("PATCH", "/config", { slaveTimeout: 88, listenPort: 1 });
    assert.equal(answer.status, 400);
    assert.match(answer.json.error, /listenPort can't change/);
    assert.equal(port.config().slaveTimeout, 77);
    for (const body of [{}, { slaveTimeout: [1] }, { slaveTimeout: {} }, { slaveTimeout: "x" }, { nope: 1 }]) {
      assert.equal((await call("PATCH", "/config", body)).status, 400, JSON.stringify(body));
    }
  });
});

describe("POST /topics/{topic}/messages", () => {
  it("puts text and bytes with tags, keys and properties", async () => {
    const { port, call } = setup();
    const answer = await call("POST", "/topics/T/messages", {
      body: "hällo",
      tags: "a",
      keys: ["k1", "k2"],
      queueId: 3,
      flag: -1,
      properties: { color: "red" },
      waitStoreMsgOK: false,
    });
    assert.equal(answer.status, 200);
    assert.equal(answer.json.status, "PUT_OK");
    assert.equal(answer.json.queueOffset, 0);
    await call("POST", "/topics/T/messages", { bodyBase64: btoa("\x00\xff") });
    const [first, second] = port.asked as {
      body: Uint8Array;
      properties: Map<string, string>;
      queueId: number | null;
      flag: number;
    }[];
    assert.equal(new TextDecoder().decode(first!.body), "hällo");
    assert.deepEqual([...first!.properties], [["color", "red"], ["KEYS", "k1 k2"], ["TAGS", "a"], ["WAIT", "false"]]);
    assert.deepEqual([first!.queueId, first!.flag], [3, -1]);
    assert.deepEqual([...second!.body], [0, 255]);
    assert.equal(second!.queueId, null);
  });

  it("answers each status with its own HTTP status, never as PUT_OK", async () => {
    const { port, call } = setup();
    const stored = { msgId: "M", queueId: 0, queueOffset: 1, physicalOffset: 2, storeSize: 3, storeTimestamp: 4 };
    for (
      const [status, http, isStored] of [
        ["FLUSH_DISK_TIMEOUT", 202, true],
        ["FLUSH_SLAVE_TIMEOUT", 202, true],
        ["SLAVE_NOT_AVAILABLE", 202, true],
        ["SERVICE_NOT_AVAILABLE", 503, false],
        ["IN_SYNC_REPLICAS_NOT_ENOUGH", 503, false],
        ["MESSAGE_ILLEGAL", 400, false],
        ["PROPERTIES_SIZE_EXCEEDED", 400, false],
        ["CREATE_MAPPED_FILE_FAILED", 500, false],
        ["UNKNOWN_ERROR", 500, false],
      ] as const
    ) {
      port.putOutcome = { status, remark: "why", stored: isStored ? stored : null };
      const answer = await call("POST", "/topics/T/messages", { body: "x" });
      assert.equal(answer.status, http, status);
      assert.equal(answer.json.status, status);
      assert.equal(answer.json.remark, "why");
      assert.equal(answer.json.msgId, isStored ? "M" : null);
    }
  });

  it("refuses what is not a message", async () => {
    const { port, call } = setup();
    const bad: unknown[] = [
      {},
      { body: "a", bodyBase64: "YQ==" },
      { bodyBase64: "*" },
      { bodyBase64: "YQ=" },
      { body: "x", queueId: -1 },
      { body: "x", queueId: 2 ** 31 },
      { body: "x", flag: 2 ** 31 },
      { body: "x", tags: "a\u0001b" },
      { body: "x", keys: "a\u0002" },
      { body: "x", keys: ["a b"] },
      { body: "x", properties: { TAGS: "t" } },
      { body: "x", properties: { "__CRC32#": "0000000000" } },
      { body: "x", properties: { "a\u0001": "b" } },
      { body: "x", properties: { "": "b" } },
      { body: "x", properties: { a: "" } },
      { body: 5 },
      { body: "x", unknown: 1 },
    ];
    for (const body of bad) {
      const answer = await call("POST", "/topics/T/messages", body);
      assert.equal(answer.status, 400, JSON.stringify(body));
      assert.equal(typeof answer.json.error, "string");
    }
    for (const topic of ["a%20b", "a%2Fb", "x".repeat(128), "%E4%B8%AD", "a$b", "a.b"]) {
      assert.equal((await call("POST", `/topics/${topic}/messages`, { body: "x" })).status, 400, topic);
    }
    assert.deepEqual(port.asked, []);
    assert.equal((await call("POST", "/topics/%25RETRY%25g/messages", { body: "x" })).status, 200);
  });

  it("refuses bodies over its bound, which goes by maxMessageSize, and too many at once", async () => {
    const { port, call } = setup();
    const large = `{"body":"${"x".repeat(16 * 1024 * 1024)}"}`;
    const answer = await call("POST", "/topics/T/messages", large);
    assert.equal(answer.status, 413);
    assert.match(answer.json.error, /too large, wanted at most 8454144 bytes/);
    assert.equal((await call("PUT", "/role", `{"role":"${"x".repeat(70_000)}"}`)).status, 413);
    assert.equal((await call("GET", "/ha", undefined, { "content-length": "99999999" })).status, 200);
    port.updateConfig({ maxMessageSize: 16 * 1024 * 1024 });
    assert.match((await call("POST", "/topics/T/messages", large)).json.error, /at most 16777216 bytes/);
    const half = `{"body":"${"x".repeat(15 * 1024 * 1024)}"}`;
    const length = { "content-length": String(half.length) };
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => call("POST", "/topics/T/messages", half, length)),
    );
    assert.deepEqual(answers.map(({ status }) => status).sort(), [200, 200, 200, 200, 503]);
    assert.equal((await call("POST", "/topics/T/messages", { body: "x" })).status, 200);
  });

  it("stops counting a body that stops coming", async () => {
    const { app, call, clock } = setup();
    let cancelled = 0;
    const stalled = () => {
      const body = new ReadableStream<Uint8Array>({
        start: (controller) => controller.enqueue(new Uint8Array([0x7b])),
        cancel: () => void cancelled++,
      });
      const headers = { "content-length": "8000000", "content-type": "application/json" };
      const init = { method: "POST", body, headers, duplex: "half" } as RequestInit;
      return Promise.resolve(app.request(`${BASE}/topics/T/messages`, init));
    };
    const waiting = Array.from({ length: 8 }, stalled);
    await turns(() => false, 50);
    assert.equal((await stalled()).status, 503);
    clock.advance(30_000);
    assert.deepEqual((await Promise.all(waiting)).map(({ status }) => status), new Array(8).fill(408));
    assert.equal(cancelled, 8);
    assert.equal((await call("POST", "/topics/T/messages", { body: "x" })).status, 200);
  });
});

describe("GET /topics/{topic}/messages", () => {
  it("lists queues", async () => {
    const { port, call } = setup();
    port.messages.push(storedMessage(0, "a"));
    assert.deepEqual((await call("GET", "/topics/T")).json, {
      topic: "T",
      queues: [{ queueId: 0, minOffset: 0, maxOffset: 1 }],
    });
    assert.equal((await call("GET", "/topics/nope")).status, 404);
  });

  it("reads by queue offset, time, key and id", async () => {
    const { port, call } = setup();
    for (let at = 0; at < 5; at++) {
      port.messages.push(
        storedMessage(at, `m${at}`, { storeTimestamp: at * 10, properties: new Map([["KEYS", `k${at}`]]) }),
      );
    }
    const byOffset = (await call("GET", "/topics/T/messages?offset=1&maxNum=2")).json;
    assert.deepEqual(byOffset.messages.map((message: { body: string }) => message.body), ["m1", "m2"]);
    assert.deepEqual([byOffset.nextOffset, byOffset.minOffset, byOffset.maxOffset], [3, 0, 5]);
    assert.equal((await call("GET", "/topics/T/messages?time=25")).json.messages[0].queueOffset, 3);
    const byKey = (await call("GET", "/topics/T/messages?key=k4&begin=5&end=99&maxNum=7")).json;
    assert.deepEqual([byKey.messages.length, byKey.nextOffset], [1, null]);
    assert.deepEqual(port.asked, [{ topic: "T", key: "k4", begin: 5, end: 99, maxNum: 7 }]);
    const msgId = port.messages[2]!.msgId;
    assert.equal((await call("GET", `/topics/T/messages?msgId=${msgId.toLowerCase()}`)).json.messages[0].body, "m2");
    const message = byOffset.messages[0];
    assert.deepEqual([message.bornHost, message.properties, message.bodyBase64], [
      "127.0.0.1:10911",
      { KEYS: "k1" },
      null,
    ]);
  });

  it("shows bytes as base64 and inflates what a producer had deflated", async () => {
    const { port, call } = setup();
    port.messages.push(
      storedMessage(0, new Uint8Array([0xff, 0xfe])),
      storedMessage(1, deflateSync("zipped"), { sysFlag: 1 }),
      storedMessage(2, deflateSync("zipped"), { sysFlag: 0x301 }),
      storedMessage(3, new Uint8Array([0xff]), { sysFlag: 0x101 }),
    );
    const { messages } = (await call("GET", "/topics/T/messages?offset=0")).json;
    assert.deepEqual(
      messages.map((message: { body: string; bodyBase64: string }) => [message.body, message.bodyBase64]),
      [[null, btoa("\xff\xfe")], ["zipped", null], ["zipped", null], [null, btoa("\xff")]],
    );
  });

  it("bounds an answer's bytes and says where to go on", async () => {
    const { port, call } = setup();
    for (let at = 0; at < 4; at++) port.messages.push(storedMessage(at, new Uint8Array(3 * 1024 * 1024).fill(0x41)));
    const { messages, nextOffset } = (await call("GET", "/topics/T/messages?offset=0")).json;
    assert.deepEqual([messages.length, nextOffset], [2, 2]);
  });

  it("waits for a first message, up to waitMs", async () => {
    const { port, clock, call } = setup();
    const waiting = call("GET", "/topics/T/messages?offset=0&waitMs=5000");
    await turns(() => port.messageListeners.size === 1);
    port.add(storedMessage(0, "late"));
    assert.equal((await waiting).json.messages[0].body, "late");
    const inVain = call("GET", "/topics/T/messages?offset=1&waitMs=5000");
    await turns(() => port.messageListeners.size === 1);
    clock.advance(5000);
    assert.deepEqual((await inVain).json, { messages: [], nextOffset: 1, minOffset: 0, maxOffset: 1 });
    assert.equal(port.messageListeners.size, 0);
    assert.equal(clock.timers, 0);
  });

  it("stops waiting when the node stops", async () => {
    const { port, clock, call, ending } = setup();
    const waiting = call("GET", "/topics/T/messages?offset=0&waitMs=5000");
    await turns(() => port.messageListeners.size === 1);
    ending.abort();
    assert.equal((await waiting).status, 200);
    assert.equal(port.messageListeners.size, 0);
    assert.equal(clock.timers, 0);
    assert.equal((await call("GET", "/topics/T/messages?offset=0&waitMs=5000")).status, 200);
  });

  it("refuses what is not a read", async () => {
    const { call } = setup();
    for (
      const query of [
        "",
        "offset=0&key=k",
        "offset=-1",
        "offset=x",
        "offset=9e99",
        "offset=0&maxNum=0",
        "offset=0&maxNum=257",
        "offset=0&waitMs=60000",
        "msgId=zz",
        "key=",
        "offset=0&what=1",
        "offset=0&offset=1",
      ]
    ) {
      assert.equal((await call("GET", `/topics/T/messages?${query}`)).status, 400, query);
    }
    for (const query of ["offset=0&queueId=9", "time=0&queueId=9", `msgId=${"0".repeat(32)}`]) {
      assert.equal((await call("GET", `/topics/T/messages?${query}`)).status, 404, query);
    }
    assert.equal((await call("GET", "/topics/nope/messages?offset=0")).status, 404);
  });
});

describe("/metrics", () => {
  it("shows lag per slave under Apache's name, and the port's own figures", async () => {
    const { port, call } = setup();
    port.extraFigures = [
      { name: "rocketmq_messages_in_total", help: "Messages put", type: "counter", labels: { topic: "T" }, value: 5 },
      { name: "rocketmq_messages_in_total", help: "Messages put", type: "counter", labels: { topic: "U" }, value: 6 },
    ];
    const answer = await call("GET", "/metrics");
    assert.match(answer.headers.get("content-type")!, /^text\/plain; version=0\.0\.4/);
    assert.match(answer.text, /^rocketmq_broker_commitlog_diff\{.*slave="10\.0\.0\.2:40000".*\} 100$/m);
    assert.match(answer.text, /^rocketmq_broker_commitlog_diff\{.*slave="fastest".*\} 100$/m);
    assert.match(answer.text, /^rocketmq_storage_flush_behind_bytes\{.*\} 200$/m);
    assert.match(answer.text, /^rocketmq_messages_in_total\{topic="T"\} 5$/m);
    assert.match(answer.text, /^rocketmq_messages_in_total\{topic="U"\} 6$/m);
    assert.equal((await call("GET", "/metrics")).text, answer.text);
    port.figures = followingStatus();
    const slave = (await call("GET", "/metrics")).text;
    assert.match(slave, /^rocketmq_broker_commitlog_diff\{.*slave="self".*\} 0$/m);
    assert.match(slave, /^twinlog_ha_following\{.*\} 1$/m);
  });
});

describe("/events", () => {
  const decoder = new TextDecoder();
  const read = async (reader: ReadableStreamDefaultReader<Uint8Array>) => {
    const { value, done } = await reader.read();
    return done ? null : decoder.decode(value);
  };

  it("sends the figures at once, each second and at a change", async () => {
    const { port, clock, app } = setup();
    const response = await app.request(`${BASE}/events`);
    assert.equal(response.headers.get("content-type"), "text/event-stream");
    const reader = response.body!.getReader();
    assert.match((await read(reader))!, /^event: status\ndata: \{"brokerClusterName":.*\}\n\n$/);
    clock.advance(1000);
    assert.match((await read(reader))!, /^event: status\n/);
    port.figures = { ...port.figures, maxOffset: 4242 };
    for (const listener of port.stateListeners) for (let i = 0; i < 10; i++) listener();
    clock.advance(20);
    assert.match((await read(reader))!, /^event: change\n.*"maxOffset":4242/);
    await reader.cancel();
    assert.equal(port.stateListeners.size, 0);
    assert.equal(clock.timers, 0);
  });

  it("keeps no more than a few events for a slow reader", async () => {
    const { clock, app } = setup();
    const reader = (await app.request(`${BASE}/events`)).body!.getReader();
    for (let i = 0; i < 1000; i++) clock.advance(1000);
    let waiting = 0;
    const count = async () => {
      while (await read(reader) !== null) waiting++;
    };
    const counting = count();
    await turns(() => waiting > 1);
    await turns(() => false, 20);
    assert.ok(waiting <= 8, String(waiting));
    await reader.cancel();
    await counting;
  });

  it("begins none for a HEAD request, whose answer nobody would end", async () => {
    const { port, app, clock } = setup();
    const { status, headers, body } = await app.request(`${BASE}/events`, { method: "HEAD" });
    assert.deepEqual([status, headers.get("content-type"), body], [200, "text/event-stream", null]);
    assert.equal(port.stateListeners.size, 0);
    assert.equal(clock.timers, 0);
  });

  it("ends when the node stops, and bounds how many there are", async () => {
    const { port, app, clock, ending } = setup();
    const open = await Promise.all(Array.from({ length: 64 }, () => app.request(`${BASE}/events`)));
    assert.equal((await app.request(`${BASE}/events`)).status, 503);
    await open.pop()!.body!.cancel();
    open.push(await app.request(`${BASE}/events`));
    assert.equal(open.at(-1)!.status, 200);
    ending.abort();
    await Promise.all(open.map(async (response) => {
      const reader = response.body!.getReader();
      while (await read(reader) !== null);
    }));
    assert.equal(port.stateListeners.size, 0);
    assert.equal(clock.timers, 0);
    await (await app.request(`${BASE}/events`)).text();
  });
});

describe("who may call", () => {
  const TOKEN = "correct-horse-battery";

  it("wants the token but for probes and the page", async () => {
    const { port, call } = setup(TOKEN);
    for (const path of ["/", "/healthz", "/readyz"]) assert.equal((await call("GET", path)).status, 200, path);
    for (
      const path of [
        "/ha",
        "/metrics",
        "/events",
        "/config",
        "/openapi.json",
        "/topics/T",
        "/nope",
        "//healthz",
        "/healthz/x",
      ]
    ) {
      const answer = await call("GET", path);
      assert.equal(answer.status, 401, path);
      assert.match(answer.headers.get("www-authenticate")!, /^Bearer/);
    }
    for (
      const given of [
        "",
        "Bearer",
        "Bearer ",
        `Bearer ${TOKEN}x`,
        `Bearer ${TOKEN.slice(1)}`,
        `Basic ${TOKEN}`,
        `Bearer ${TOKEN.toUpperCase()}`,
      ]
    ) {
      assert.equal((await call("PUT", "/role", { role: "master" }, { authorization: given })).status, 401, given);
    }
    assert.deepEqual(port.asked, []);
    assert.equal((await call("PUT", "/role", { role: "master" }, { authorization: `Bearer ${TOKEN}` })).status, 200);
    assert.equal((await call("GET", "/ha", undefined, { authorization: `bearer ${TOKEN}` })).status, 200);
  });

  it("without a token answers numeric hosts and localhost only (DNS rebinding)", async () => {
    const { app } = setup();
    const statusOf = async (host: string, path = "/ha") => (await app.request(`http://${host}${path}`)).status;
    for (const host of ["127.0.0.1:1", "localhost", "[::1]:5", "10.1.2.3", "LOCALHOST:80"]) {
      assert.equal(await statusOf(host), 200, host);
    }
    for (
      const host of [
        "evil.test",
        "127.0.0.1.evil.test",
        "localhost.evil.test",
        "localhost.",
        "a.127.0.0.1.nip.test:10913",
      ]
    ) {
      for (const path of ["/ha", "/events", "/config", "/topics/T/messages?offset=0"]) {
        assert.equal(await statusOf(host, path), 403, `${host} ${path}`);
      }
      assert.equal(await statusOf(host, "/healthz"), 200, host);
    }
  });

  it("refuses what another site's page asks for (CSRF), reads and event streams too", async () => {
    for (const token of [null, TOKEN]) {
      const { port, call } = setup(token);
      const authorization: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
      const asked = async (headers: Record<string, string>) => {
        const all = { ...authorization, ...headers };
        return [
          (await call("PUT", "/role", { role: "master" }, all)).status,
          (await call("POST", "/topics/T/messages", { body: "x" }, all)).status,
          (await call("GET", "/ha", undefined, all)).status,
        ];
      };
      for (const origin of ["http://evil.test", "null", "", "file://", "http://127.0.0.1:1", "http://127.0.0.1"]) {
        assert.deepEqual(await asked({ origin }), [403, 403, 403], origin);
      }
      for (const site of ["cross-site", "same-site", "x"]) {
        assert.deepEqual(await asked({ "sec-fetch-site": site }), [403, 403, 403], site);
        assert.equal(
          (await call("GET", "/events", undefined, { ...authorization, "sec-fetch-site": site })).status,
          403,
        );
      }
      assert.deepEqual(port.asked, []);
      const link = { "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate" };
      assert.equal((await call("GET", "/", undefined, link)).status, 200);
      assert.equal((await call("GET", "/ha", undefined, { ...authorization, ...link })).status, 403);
      assert.deepEqual(await asked({ origin: BASE, "sec-fetch-site": "same-origin" }), [200, 200, 200]);
      assert.deepEqual(await asked({ origin: BASE.replace("http:", "https:") }), [200, 200, 200]);
    }
  });

  it("compares the token without telling where it differs, and never shows it", async () => {
    for (
      const [given, same] of [["abcdefgh", true], ["abcdefgi", false], ["abcdefg", false], [
        "abcdefghabcdefgh",
        false,
      ]] as const
    ) {
      assert.equal(sameText(given, "abcdefgh"), same, given);
    }
    const { call } = setup(TOKEN);
    for (const given of [undefined, `Bearer ${TOKEN}`, `Bearer ${TOKEN}x`]) {
      for (const path of ["/", "/ha", "/config", "/metrics", "/openapi.json", "/nope", `/${TOKEN.slice(0, 4)}`]) {
        const answer = await call("GET", path, undefined, given === undefined ? {} : { authorization: given });
        const all = answer.text + [...answer.headers].join();
        assert.ok(!all.includes(TOKEN), path);
      }
    }
  });

  it("lets no answer be sniffed, framed, kept or read by another site", async () => {
    const { call, port } = setup();
    port.queues = () => {
      throw new Error("on purpose");
    };
    const paths = ["/ha", "/nope", "/metrics", "/events", "/openapi.json", "/topics/T", "/"];
    for (const path of paths) {
      const { headers, status } = await (path === "/events" ? headOf(path) : call("GET", path));
      assert.equal(headers.get("x-content-type-options"), "nosniff", path);
      assert.equal(headers.get("x-frame-options"), "DENY", path);
      assert.match(headers.get("content-security-policy")!, /default-src 'none'.*frame-ancestors 'none'/, path);
      assert.equal(headers.get("cross-origin-resource-policy"), "same-origin", path);
      assert.match(headers.get("cache-control")!, /^no-(store|cache)$/, path);
      assert.equal(headers.get("access-control-allow-origin"), null, path);
      assert.ok([200, 404, 500].includes(status));
    }
    const refused = await call("GET", "/ha", undefined, { origin: "http://evil.test" });
    assert.equal(refused.headers.get("x-content-type-options"), "nosniff");
  });

  async function headOf(path: string) {
    const { app, ending } = setup();
    const response = await app.request(`${BASE}${path}`);
    ending.abort();
    await response.text();
    return response;
  }
});

describe("the rest", () => {
  it("answers 404 as JSON, and never with a stack", async () => {
    const { port, call } = setup();
    assert.match((await call("GET", "/nope")).json.error, /GET \/nope does not exist/);
    assert.equal((await call("DELETE", "/ha")).status, 404);
    port.status = () => {
      throw new Error("boom");
    };
    const answer = await call("GET", "/ha");
    assert.equal(answer.status, 500);
    assert.deepEqual(answer.json, { error: "The node failed to answer: boom" });
  });

  it("describes every route", async () => {
    const { json } = await setup().call("GET", "/openapi.json");
    assert.equal(json.openapi, "3.1.0");
    assert.deepEqual(Object.keys(json.paths).sort(), [
      "/",
      "/config",
      "/events",
      "/fenced",
      "/groups",
      "/groups/{group}",
      "/groups/{group}/reset",
      "/ha",
      "/ha/master-address",
      "/healthz",
      "/metrics",
      "/namesrv",
      "/producers",
      "/readyz",
      "/role",
      "/topics",
      "/topics/{topic}",
      "/topics/{topic}/messages",
    ]);
    assert.ok(json.components.schemas.Status.properties.push2SlaveMaxOffset);
    assert.ok(json.paths["/role"].put.responses["409"]);
    const guarded = (responses: object) =>
      Object.keys(responses).filter((code) => ["401", "403", "415"].includes(code));
    assert.deepEqual(guarded(json.paths["/role"].put.responses), ["401", "403", "415"]);
    assert.deepEqual(guarded(json.paths["/ha"].get.responses), ["401", "403"]);
    assert.deepEqual(guarded(json.paths["/healthz"].get.responses), ["403"]);
    assert.equal(
      json.paths["/topics/{topic}/messages"].get.parameters.find((p: { name: string }) => p.name === "waitMs").in,
      "query",
    );
  });

  it("serves a page that needs nothing from outside", async () => {
    const { status, text, headers } = await setup().call("GET", "/");
    assert.equal(status, 200);
    assert.match(headers.get("content-type")!, /^text\/html/);
    assert.match(headers.get("content-security-policy")!, /default-src 'none'; script-src 'sha256-[A-Za-z0-9+/=]{44}'/);
    const outside = text.replaceAll("http://www.w3.org/2000/svg", "").match(/https?:\/\/|src=|@import|url\(/g);
    assert.equal(outside, null);
    assert.match(text, /<meta name="viewport"/);
    const script = /<script>([\s\S]*)<\/script>/.exec(text)![1]!;
    new Function(script);
    for (const id of script.matchAll(/\$\("([a-z-]+)"\)/g)) assert.ok(text.includes(`id="${id[1]}"`), id[1]);
  });
});

/** Lets promises settle until the condition holds. */
async function turns(holds: () => boolean, most = 2000): Promise<void> {
  for (let turn = 0; turn < most && !holds(); turn++) await new Promise((resolve) => setTimeout(resolve, 0));
}
