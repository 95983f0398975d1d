// The current runtime's HTTP server against clients that misbehave on the wire.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { sleep } from "../../src/base/async.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Connection, HttpGate, HttpServer } from "../../src/runtime/runtime.ts";

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

describe(`${runtime.name}: http behind a gate`, () => {
  const open = new Set<number>();
  let allowed = 3;
  let server: HttpServer;
  before(async () => {
    const gate: HttpGate = {
      admits: ({ hostname, port }) => {
        if (hostname !== HOSTNAME || open.size >= allowed) return false;
        open.add(port);
        return true;
      },
      onClosed: ({ port }) => void open.delete(port),
      headTimeMs: 400,
    };
    server = await runtime.serveHttp({ hostname: HOSTNAME, port: 0, gate }, () => new Response("hello"));
  });
  after(() => server.close());

  const connect = (): Promise<Connection> =>
    runtime.net.connect({ hostname: HOSTNAME, port: server.address.port, timeoutMs: 5_000 });
  const ask = async (): Promise<string> => {
    const connection = await connect();
    await connection.write(utf8.encode("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")).catch(() => {});
    const text = await readText(connection);
    connection.close();
    return text;
  };
  const until = async (condition: () => boolean): Promise<void> => {
    const deadline = runtime.clock.monotonic() + 20_000;
    while (!condition()) {
      assert.ok(runtime.clock.monotonic() < deadline);
      await sleep(runtime.clock, 5);
    }
  };

  it("closes connections beyond those it admits, and admits again once others are gone", async () => {
    const idle = [await connect(), await connect(), await connect()];
    await until(() => open.size === 3);
    assert.equal(await ask(), "");
    for (const connection of idle) connection.close();
    await until(() => open.size === 0);
    assert.match(await ask(), /^HTTP\/1\.1 200/);
    await until(() => open.size === 0);
  });

  it("closes one that says nothing, or half a head, or half a body", async () => {
    allowed = 100;
    for (
      const start of [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nhost: x\r\nx: ",
        "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n1",
      ]
    ) {
      const connection = await connect();
      if (start !== "") await connection.write(utf8.encode(start));
      while (await connection.read().catch(() => null) !== null);
      connection.close();
    }
    await until(() => open.size === 0);
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
