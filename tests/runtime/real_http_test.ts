// The current runtime's HTTP server against clients that misbehave on the wire.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sleep } from "../../src/base/async.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Connection, HttpServer } from "../../src/runtime/runtime.ts";

const HOSTNAME = "127.0.0.1";
const MIB = 1024 * 1024;
const runtime = await loadRuntime();

describe(`${runtime.name}: http on the wire`, () => {
  let server: HttpServer;
  let bodyBytes = 0;
  before(async () => {
    server = await runtime.serveHttp({ hostname: HOSTNAME, port: 0 }, async (request) => {
      bodyBytes = 0;
      if (request.body !== null) { for await (const chunk of request.body) bodyBytes += chunk.length; }
      return new Response(`took ${bodyBytes}`);
    });
  });
  after(() => server.close());

  const connect = (): Promise<Connection> =>
    runtime.net.connect({ hostname: HOSTNAME, port: server.address.port, timeoutMs: 5_000 });
  const stillServes = async (): Promise<void> => {
    const response = await fetch(`http://${HOSTNAME}:${server.address.port}/`, { method: "POST", body: "12345" });
    assert.equal(await response.text(), "took 5");
  };

  it("stops a chunked body at 16 MiB", async () => {
    const connection = await connect();
    const answer = readText(connection);
    await connection.write(utf8.encode("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"));
    const chunk = new Uint8Array(MIB + 10);
    chunk.set(utf8.encode("100000\r\n"));
    chunk.set(utf8.encode("\r\n"), MIB + 8);
    const sending = (async () => {
      for (let i = 0; i < 64; i++) await connection.write(chunk);
      await connection.write(utf8.encode("0\r\n\r\n"));
      await connection.shutdownWrite();
    })().catch(() => {});
    const text = await answer;
    assert.ok(text === "" || /^HTTP\/1\.1 (413|500)/.test(text), text);
    assert.ok(bodyBytes <= 17 * MIB, `The handler got ${bodyBytes} bytes`);
    connection.close();
    await sending;
    await stillServes();
  });

  it("answers nonsense with a refusal or a close", async () => {
    for (
      const nonsense of [
        "\0\0\0\x01nonsense\r\n\r\n",
        "GET\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
        `GET / HTTP/1.1\r\nhost: x\r\nx-long: ${"a".repeat(2 * MIB)}\r\n\r\n`,
      ]
    ) {
      const connection = await connect();
      await connection.write(utf8.encode(nonsense)).catch(() => {});
      await connection.shutdownWrite().catch(() => {});
      const text = await readText(connection);
      assert.ok(
        text === "" || /^HTTP\/1\.[01] (4|500)/.test(text),
        `${nonsense.slice(0, 40)} got ${text.slice(0, 80)}`,
      );
      connection.close();
    }
    await stillServes();
  });

  it("goes on while 1,000 connections say nothing or half a request", async () => {
    const connections: Connection[] = [];
    for (let i = 0; i < 1_000; i++) {
      const connection = await connect();
      if (i % 2 === 0) await connection.write(utf8.encode("GET / HTTP/1.1\r\nho"));
      connections.push(connection);
    }
    await stillServes();
    for (const connection of connections) connection.close();
    await stillServes();
  });

  it("lets a client leave in the middle of its body", async () => {
    const connection = await connect();
    await connection.write(utf8.encode("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n123"));
    await sleep(runtime.clock, 20);
    connection.close();
    await stillServes();
  });
});

async function readText(connection: Connection): Promise<string> {
  let text = "";
  try {
    for (let chunk = await connection.read(); chunk !== null; chunk = await connection.read()) {
      text += utf8.decode(chunk);
      if (text.includes("\r\n\r\n")) break;
    }
  } catch {
    // A reset is a close, too.
  }
  return text;
}
