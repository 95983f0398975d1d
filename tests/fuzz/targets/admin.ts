// The admin API in process, over a fake node: any method, path, query, header and body. And the two things that other
// text ends in: log lines, and what a peer's answer is made into.

import assert from "node:assert/strict";
import fc from "fast-check";
import { createAdminApp } from "../../../src/admin/admin_app.ts";
import { concatBytes, utf8 } from "../../../src/base/bytes.ts";
import { IoError, ProtocolError, RemotingError } from "../../../src/base/errors.ts";
import { createLogger, SILENT_LOGGER } from "../../../src/base/logger.ts";
import { MasterInfoClient } from "../../../src/broker/master_info_client.ts";
import { CONFIG_KEYS } from "../../../src/config/schema.ts";
import { answerText, type RemotingClient } from "../../../src/remoting/remoting_client.ts";
import { createResponse } from "../../../src/remoting/remoting_command.ts";
import { formatMessage } from "../../../src/cli/messages.ts";
import { formatStatus } from "../../../src/cli/status.ts";
import { viewMessage } from "../../../src/admin/message_view.ts";
import { FakePort, followingStatus, nodeStatus, storedMessage } from "../../admin/fake_port.ts";
import { ManualClock } from "../../remoting/support.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { assertPlain, outcomeOf, steers } from "../properties.ts";
import { javaJsonText } from "./java_json.ts";

const TOKEN = "sesame-0123456789";

const paths = fc.oneof(
  fc.constantFrom(
    "/",
    "/healthz",
    "/readyz",
    "/ha",
    "/role",
    "/ha/master-address",
    "/fenced",
    "/config",
    "/metrics",
    "/openapi.json",
    "/topics/T",
    "/topics/T/messages",
    "/topics/%2e%2e%2f%2e%2e/messages",
    "/topics/__proto__/messages",
    "/nothing",
    "//ha",
    "/topics/a%0d%0ab",
    "/topics/%ff",
    "/topics/" + "x".repeat(300),
  ),
);
const queries = fc.array(
  fc.tuple(
    fc.constantFrom("offset", "time", "key", "msgId", "queueId", "begin", "end", "maxNum", "x", "__proto__"),
    fc.constantFrom(
      "0",
      "1",
      "-1",
      "1e3",
      "0x10",
      "",
      "9007199254740993",
      "7F00000100002A9F0000000000000000",
      "a b",
      "%0a",
      "NaN",
    ),
  ),
  { maxLength: 4 },
).map((pairs) => pairs.map((pair) => pair.join("=")).join("&"));
const jsonBodies = fc.oneof(
  fc.constantFrom(
    '{"role":"SLAVE","brokerId":1,"masterAddress":"10.0.0.1:10912","force":true}',
    '{"role":"__proto__"}',
    '{"address":"10.0.0.1:10912"}',
    '{"address":null}',
    '{"fenced":true}',
    '{"body":"x","tags":"a","keys":["k1","k2"],"properties":{"a":"b","__proto__":"c"},"queueId":0,"flag":-1}',
    '{"bodyBase64":"AAEC"}',
    '{"body":"x","properties":{"../../x":"\\u0000\\u001b"}}',
    '{"haSendHeartbeatInterval":1000}',
    "[]",
    "null",
    "",
  ),
  fc.tuple(fc.constantFrom(...CONFIG_KEYS, "constructor"), fc.constantFrom('"1"', "1", "true", "null", '"/etc/passwd"'))
    .map(
      ([key, value]) => `{"${key}":${value}}`,
    ),
  javaJsonText,
);

/** Input: method and header choices in two bytes, `path?query` up to a line end, then the body. */
export const ADMIN: FuzzTarget = {
  name: "admin_api",
  runs: 500,
  inputs: fc.tuple(fc.nat(255), fc.nat(255), paths, queries, jsonBodies).map(([method, headers, path, query, body]) =>
    concatBytes([Uint8Array.of(method, headers), utf8.encode(`${path}?${query}\n${body}`)])
  ),
  async check(input) {
    const [method = 0, headers = 0] = input;
    const lineEnd = input.indexOf(0x0a, 2);
    const target = utf8.decode(input.subarray(2, lineEnd < 0 ? input.length : lineEnd));
    const body = lineEnd < 0 ? new Uint8Array(0) : input.slice(lineEnd + 1);
    const request = requestOf(METHODS[method % METHODS.length]!, target, headers, body);
    // What can't be put into a request can't come out of a server either.
    if (request === null || new URL(request.url).pathname === "/events") return;
    const port = new FakePort();
    port.add(storedMessage(0, "hello"));
    const before = JSON.stringify(port.config());
    const ending = new AbortController();
    const app = createAdminApp(port, {
      token: (headers & 16) === 0 ? null : TOKEN,
      clock: new ManualClock(),
      ending: ending.signal,
    });
    // A reader that may wait is not kept waiting.
    ending.abort();
    const response = await app.fetch(request);
    const text = await response.text();
    assert.ok(
      response.status < 500 || (response.status === 503 && /Too many/.test(text)),
      `${response.status}: ${text.slice(0, 300)}`,
    );
    for (const [name, value] of response.headers) assertPlain(`${name}: ${value}`);
    assert.ok(!text.includes(TOKEN), "An answer holds the token");
    assert.ok(text.length < 200_000 + 20 * input.length, `Answer has ${text.length} characters`);
    if (response.status >= 400 && request.method !== "HEAD") assertRefusal(text);
    assertAsked(port, before);
  },
};

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

function requestOf(method: string, target: string, headers: number, body: Uint8Array): Request | null {
  const init: RequestInit = { method, headers: {} };
  const set = init.headers as Record<string, string>;
  if ((headers & 1) === 0) set["content-type"] = "application/json";
  if ((headers & 2) !== 0) set["origin"] = (headers & 4) === 0 ? "http://127.0.0.1" : "http://evil.example";
  if ((headers & 8) !== 0) set["authorization"] = `Bearer ${TOKEN.slice((headers >> 5) & 1)}`;
  if (method !== "GET" && method !== "HEAD") init.body = body as Uint8Array<ArrayBuffer>;
  try {
    return new Request(`http://127.0.0.1${target.startsWith("/") ? "" : "/"}${target}`, init);
  } catch {
    return null;
  }
}

/** A refusal is JSON with a reason, or a put's outcome. */
function assertRefusal(text: string): void {
  const answer = JSON.parse(text) as { error?: string; status?: string };
  if (answer.error === undefined) return assert.equal(typeof answer.status, "string");
  assert.ok(answer.error.length > 0 && answer.error.length < 2000, `Reason has ${answer.error.length} characters`);
}

/** Whatever reached the node was checked. */
function assertAsked(port: FakePort, configBefore: string): void {
  for (const asked of port.asked as Record<string, unknown>[]) {
    if (asked.topic !== undefined) assert.match(String(asked.topic), /^[%|a-zA-Z0-9_-]{1,127}$/);
    if (typeof asked.masterAddress === "string") {
      assert.ok(!steers(asked.masterAddress) && /:\d+$/.test(asked.masterAddress));
    }
    if (typeof asked.address === "string") assert.ok(!steers(asked.address) && /:\d+$/.test(asked.address));
    for (const [name, value] of (asked.properties as Map<string, string> | undefined) ?? []) {
      assert.ok(!/[\u0001\u0002]/.test(name + value), "A property holds a separator");
    }
  }
  const config = port.config() as unknown as Record<string, unknown>;
  const before = JSON.parse(configBefore) as Record<string, unknown>;
  assert.deepEqual(Object.keys(config), Object.keys(before));
  for (const key of ["storePathRootDir", "storePathCommitLog", "adminTokenFile", "adminAddress"]) {
    assert.equal(config[key], before[key], `${key} was changed`);
  }
}

const lines = fc.array(
  fc.oneof(
    fc.string({ maxLength: 12, unit: "binary" }),
    fc.constantFrom("a\nb", "\x1b[31m", "\u202e", "\u2028", "é", '"', "\\", "="),
  ),
  { maxLength: 6 },
).map((parts) => utf8.encode(parts.join("\u0003")));

/** Any text in a log line, a status, a printed message: one line each, that steers nothing. */
export const LOG_LINE: FuzzTarget = {
  name: "log_line",
  runs: 2000,
  inputs: lines,
  check(input) {
    const [message = "", key = "", value = ""] = utf8.decode(input).split("\u0003");
    for (const json of [false, true]) {
      let out = "";
      const logger = createLogger({ write: (line) => void (out += line), now: () => 0, json, level: "debug" });
      logger.warn(message, { [key]: value, peer: value });
      assert.equal(out.indexOf("\n"), out.length - 1, "A log line has a line end inside");
      assertPlain(out.slice(0, -1));
      if (json) assert.equal((JSON.parse(out) as { peer: string }).peer, value);
    }
    const view = viewMessage(storedMessage(0, message, { properties: new Map([["TAGS", value], ["KEYS", key]]) }));
    assertPlain(formatMessage(view, true));
    const { master } = followingStatus();
    const status = formatStatus(
      followingStatus({ brokerName: key, master: { ...master!, reason: message, masterAddr: value } }),
      0,
    ) +
      formatStatus(
        nodeStatus({
          slaves: [{ ...nodeStatus().slaves[0]!, addr: value }],
          notWritableReason: message,
          writable: false,
        }),
        0,
      );
    for (const line of status.split("\n")) assertPlain(line);
    assert.ok(status.split("\n").length < 20);
    assertPlain(answerText(createResponse(createResponse({} as never, 0), 1, { remark: message })));
  },
};

/** What a master's remoting port says of itself: a range, or a reason why there is none. */
export const MASTER_ANSWER: FuzzTarget = {
  name: "master_answer",
  runs: 1500,
  inputs: fc.oneof(
    fc.tuple(javaJsonText, javaJsonText).map(([min, max]) =>
      `{"table":{"commitLogMinOffset":${min},"commitLogMaxOffset":${max}}}`
    ),
    fc.constantFrom("0", "-1", "4096", "1e3", "0x10", "", " 7 ", "9007199254740993").map((text) =>
      `{"table":{"commitLogMinOffset":"${text}","commitLogMaxOffset":"8192"}}`
    ),
    javaJsonText,
  ).map(utf8.encode),
  async check(input) {
    const answer = createResponse({ opaque: 1 } as never, 0, { body: input });
    const client = { invoke: () => Promise.resolve(answer) } as Partial<RemotingClient> as RemotingClient;
    const info = new MasterInfoClient({ client, logger: SILENT_LOGGER });
    const { value: table } = await outcomeOf(
      info.brokerRuntimeInfo("10.0.0.1:10911").catch(asDeclared),
      RemotingError,
      ProtocolError,
      IoError,
    );
    for (const [key, value] of table ?? []) assert.ok(typeof key === "string" && typeof value === "string");
    const range = await info.askMasterRange("10.0.0.1:10911");
    if (range === null) return;
    assert.ok(Number.isSafeInteger(range.minOffset) && Number.isSafeInteger(range.maxOffset));
  },
};

/** The text of a RemotingError is for the asker; its class is what counts here. */
function asDeclared(error: unknown): never {
  if (error instanceof RemotingError) throw new RemotingError(error.code, `${error.message}, wanted another answer`);
  throw error;
}
