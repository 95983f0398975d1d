// The admin API behind a real socket of this runtime, asked in ways that no client library asks: request lines and Host
// headers that hide where they lead, headers that would forge others, bodies that end early. Whatever is asked, the node
// answers the next one, and without a token it answers only those who call it by a number or localhost.

import assert from "node:assert/strict";
import { connect } from "node:net";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { createAdminApp } from "../../src/admin/admin_app.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { HttpServer, Runtime } from "../../src/runtime/runtime.ts";
import { FakePort } from "../admin/fake_port.ts";
import { SETTINGS } from "./fuzz.ts";

const TOKEN = "sesame-0123456789";
const ANSWER_MS_MAX = 5000;
/** Stands in every answer that tells figures of the node. */
const FIGURE = '"broker-a"';

/** Sends bytes and gives back all that comes until the node closes; with `ends`, our side says at once that it is done. */
function ask(server: HttpServer, text: string, ends = false): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = connect({ port: server.address.port, host: "127.0.0.1", allowHalfOpen: true });
  const chunks: Buffer[] = [];
  const done = () => {
    clearTimeout(timer);
    socket.destroy();
    resolve(Buffer.concat(chunks).toString("latin1"));
  };
  const timer = setTimeout(done, ANSWER_MS_MAX);
  socket.on("data", (chunk) => chunks.push(chunk)).on("end", done).on("error", done).on("close", done);
  socket.write(Buffer.from(text, "latin1"));
  if (ends) socket.end();
  return promise;
}

/** Ways to make one place look like another. */
const TARGETS = [
  "//127.0.0.1/ha",
  "//127.0.0.1:10913//ha",
  "http://127.0.0.1/ha",
  "/\\127.0.0.1/ha",
  "/ha",
  "/ha#127.0.0.1",
  "/topics/..%2f..%2fetc/messages?offset=0",
  "/topics/T/messages?offset=0&key=%0d%0aX-Forged:%201",
  "*",
  "@127.0.0.1/ha",
];
const HOSTS = [
  "evil.example",
  "evil.example:80",
  "evil.example@127.0.0.1",
  "127.0.0.1@evil.example",
  "127.0.0.1#evil.example",
  "evil.example/127.0.0.1",
  "127.0.0.1.evil.example",
  "127.0.0.1:99999",
  "127.0.0.1\r\nHost: evil.example",
  "evil.example\r\nHost: 127.0.0.1",
  "127.1.evil.example\t",
  "",
];

describe("the admin API behind a socket", () => {
  let runtime: Runtime;
  let open: HttpServer;
  let closed: HttpServer;
  before(async () => {
    runtime = await loadRuntime();
    const serve = (token: string | null) => {
      const app = createAdminApp(new FakePort(), { token, clock: runtime.clock, ending: new AbortController().signal });
      return runtime.serveHttp({ hostname: "127.0.0.1", port: 0 }, (request) => app.fetch(request));
    };
    open = await serve(null);
    closed = await serve(TOKEN);
  });
  after(async () => {
    await open.close();
    await closed.close();
  });

  const isAlive = async () => {
    const answer = await ask(open, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert.match(answer, /^HTTP\/1.1 200 [^]*alive/);
  };

  it("shows no figures to a page that reached it by another name", async () => {
    for (const host of HOSTS) {
      for (const target of TARGETS) {
        const answer = await ask(open, `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
        const told = JSON.stringify({ host, target, answer: answer.slice(0, 200) });
        // A browser sends the whole URL to a proxy only; then the URL's host counts, as RFC 9112 has it.
        assert.ok(!answer.includes(FIGURE) || (host === "" && target.startsWith("http:")), told);
        assert.ok(!/^HTTP\/1.1 5/.test(answer), told);
        assert.ok(!/^x-forged/im.test(answer), told);
      }
    }
    await isAlive();
  });

  it("asks for the token by whatever way one comes, and never tells it", async () => {
    for (
      const target of ["/ha", "//ha", "/./ha", "/%68a", "/HA", "/ha/", "/healthz/../ha", "/;/ha", "/\\ha", "/?/../ha"]
    ) {
      for (
        const authorization of [
          "",
          "Bearer",
          "Bearer wrong",
          "Basic c2VzYW1l",
          `Bearer ${TOKEN}x`,
          `bearer  ${TOKEN.slice(1)}`,
        ]
      ) {
        const header = authorization === "" ? "" : `Authorization: ${authorization}\r\n`;
        const answer = await ask(
          closed,
          `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1\r\n${header}Connection: close\r\n\r\n`,
        );
        assert.ok(!answer.includes(FIGURE) && !answer.includes(TOKEN), `${target}: ${answer.slice(0, 300)}`);
        assert.ok(!/^HTTP\/1.1 5/.test(answer), `${target}: ${answer.slice(0, 300)}`);
      }
    }
    const answer = await ask(
      closed,
      `GET /ha HTTP/1.1\r\nHost: any.name\r\nAuthorization: Bearer ${TOKEN}\r\nConnection: close\r\n\r\n`,
    );
    assert.ok(answer.includes(FIGURE));
    assert.ok(!answer.includes(TOKEN));
  });

  const runs = Math.ceil((60 * SETTINGS.percent) / 100);
  it(`survives ${runs} requests of pieces in any order, seed ${SETTINGS.seed}`, async () => {
    const pieces = fc.constantFrom(
      "GET ",
      "POST ",
      "PUT /role",
      "/topics/T/messages",
      " HTTP/1.1\r\n",
      "\r\n",
      "Host: 127.0.0.1\r\n",
      "Content-Length: 5\r\n",
      "Content-Length: 99999999999\r\n",
      "Content-Length: -1\r\n",
      "Transfer-Encoding: chunked\r\n",
      "5\r\nhello\r\n",
      "0\r\n\r\n",
      "ffffffffffffffff\r\n",
      "Content-Type: application/json\r\n",
      '{"role":"SLAVE"}',
      '{"body":"x"}',
      "X: \x00\r\n",
      "Connection: close\r\n",
      "Expect: 100-continue\r\n",
      "Upgrade: websocket\r\n",
      ` ${"a".repeat(20_000)}`,
    );
    const request = fc.oneof(
      fc.array(pieces, { maxLength: 10 }).map((parts) => parts.join("")),
      fc.array(pieces, { maxLength: 6 }).map((parts) =>
        `POST /topics/T/messages HTTP/1.1\r\nHost: 127.0.0.1\r\n${parts.join("")}`
      ),
    );
    const property = fc.asyncProperty(request, async (text) => {
      const answer = await ask(open, text, true);
      assert.ok(
        answer === "" || /^HTTP\/1\.[01] ([1-4]|505)/.test(answer),
        JSON.stringify([text.slice(0, 300), answer.slice(0, 300)]),
      );
    });
    await fc.assert(property, { seed: SETTINGS.seed, numRuns: runs, endOnFailure: true });
    await isAlive();
  });
});
