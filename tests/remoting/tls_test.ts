// One remoting port for plain clients, TLS clients and load balancers' headers: who is served, who is refused, and what is
// counted and said.

import assert from "node:assert/strict";
import * as net from "node:net";
import { afterEach, describe, it } from "node:test";
import * as tls from "node:tls";
import { ConfigError, IoError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { FrameDecoder } from "../../src/remoting/frame_decoder.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import {
  createRequest,
  createResponse,
  encodeFrame,
  type RemotingCommand,
} from "../../src/remoting/remoting_command.ts";
import { RemotingServer, type RemotingServerOptions, type RemotingTls } from "../../src/remoting/remoting_server.ts";
import type { TlsClientOptions } from "../../src/runtime/runtime.ts";
import { tlsIdentity } from "../support/tls.ts";
import { ManualClock, recordingLogger, runtime, waitFor } from "./support.ts";

const HOSTNAME = "127.0.0.1";
const ECHO = 1000;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const { cert, key, ca } = tlsIdentity("master");
const PERMISSIVE: RemotingTls = { mode: "permissive", identity: { cert, key, ca: null, clientAuth: "none" } };

async function startServer(tlsOptions: RemotingTls | undefined, options: Partial<RemotingServerOptions> = {}) {
  const { logger, lines } = recordingLogger();
  const server = new RemotingServer({
    net: runtime.net,
    clock: runtime.clock,
    logger,
    processors: new Map([[
      ECHO,
      (request, { remoteAddress }) => createResponse(request, 0, { body: request.body, ext: { remoteAddress } }),
    ]]),
    hostname: HOSTNAME,
    port: 0,
    ...(tlsOptions === undefined ? {} : { tls: tlsOptions }),
    ...options,
  });
  const { port } = await server.start();
  cleanups.push(() => server.stop());
  return { server, port, lines };
}

/** Sends over `socket` and reads frames; null: the server closed it. */
function exchange(
  socket: net.Socket | tls.TLSSocket,
  bytes: Uint8Array,
  wanted = 1,
): Promise<RemotingCommand[] | null> {
  cleanups.push(() => socket.destroy());
  const decoder = new FrameDecoder();
  const answers: RemotingCommand[] = [];
  return new Promise((resolve) => {
    socket.on("error", () => {});
    socket.on("close", () => resolve(null));
    socket.on("end", () => resolve(null));
    socket.on("data", (chunk) => {
      // A TLS alert: why it will be closed.
      if (chunk[0] === 0x15) return;
      decoder.push(chunk);
      for (let each = decoder.next(); each !== null; each = decoder.next()) answers.push(each);
      if (answers.length >= wanted) resolve(answers);
    });
    socket.write(bytes);
  });
}

function request(body = new Uint8Array(0), opaque = 1): Uint8Array {
  return encodeFrame({ ...createRequest(ECHO, {}, body), opaque });
}

function tlsClient(port: number, identity: Partial<tls.ConnectionOptions> = {}): tls.TLSSocket {
  return tls.connect({ host: HOSTNAME, port, rejectUnauthorized: false, ...identity });
}

function plainClient(port: number): net.Socket {
  return net.connect({ host: HOSTNAME, port });
}

/** As it came, but byte by byte. */
async function drip(socket: net.Socket, bytes: Uint8Array): Promise<void> {
  socket.setNoDelay(true);
  for (const byte of bytes) {
    await new Promise<void>((resolve) => socket.write(Uint8Array.of(byte), () => resolve()));
    await new Promise<void>((resolve) => runtime.clock.setTimer(0, resolve));
  }
}

describe(`${runtime.name}: TLS on a remoting port`, () => {
  it("serves plain and TLS clients on one port, large bodies too", async () => {
    const { server, port } = await startServer(PERMISSIVE);
    const body = new Uint8Array(3_000_000).map((_, index) => index * 7);
    for (const socket of [tlsClient(port), plainClient(port)]) {
      const answers = await exchange(socket, concatBytes([request(body, 1), request(body.subarray(0, 10), 2)]), 2);
      assert.deepEqual(answers!.map(({ opaque, body }) => [opaque, body.length]), [[1, 3_000_000], [2, 10]]);
      assert.ok(Buffer.from(answers![0]!.body).equals(body));
    }
    assert.equal(server.requestCount, 4);
    const client = new RemotingClient({ net: runtime.net, clock: runtime.clock });
    cleanups.push(() => client.close());
    assert.equal((await client.invoke(`${HOSTNAME}:${port}`, createRequest(ECHO), 5000)).code, 0);
  });

  it("serves many requests in flight over TLS", async () => {
    const { port } = await startServer(PERMISSIVE);
    const frames = Array.from({ length: 500 }, (_, opaque) => request(new Uint8Array(500), opaque));
    const answers = await exchange(tlsClient(port), concatBytes(frames), 500);
    assert.deepEqual(answers!.map(({ opaque }) => opaque), frames.map((_, index) => index));
  });

  it("refuses TLS where it is disabled or has no certificate, serves the others, and says and counts it", async () => {
    for (
      const [options, said] of [
        [{ ...PERMISSIVE, mode: "disabled" }, /tls.*begins with TLS, and tlsServerMode is disabled/],
        [{ mode: "permissive", identity: null }, /tls.*there is no certificate: tlsServerCertPath/],
        [undefined, /tls.*there is no certificate/],
      ] as const
    ) {
      const { server, port, lines } = await startServer(options);
      assert.equal(await exchange(tlsClient(port), request()), null);
      await waitFor("the count", () => server.closeCounts.tls === 1);
      assert.match(lines.join("\n"), said);
      assert.equal((await exchange(plainClient(port), request()))!.length, 1);
      assert.equal(server.connectionCount, 1);
    }
  });

  it("refuses plain connections where TLS is enforced", async () => {
    const { server, port, lines } = await startServer({ ...PERMISSIVE, mode: "enforcing" });
    assert.equal(await exchange(plainClient(port), request()), null);
    await waitFor("the count", () => server.closeCounts.tls === 1);
    assert.match(lines.join("\n"), /does not begin with TLS, and tlsServerMode is enforcing/);
    assert.equal((await exchange(tlsClient(port), request()))!.length, 1);
    assert.equal(server.requestCount, 1);
  });

  it("asks for a client's certificate as configured", async () => {
    const identity = { cert, key, ca };
    const own = tlsIdentity("slave");
    const stranger = tlsIdentity("stranger");
    const served = async (port: number, client: Partial<tls.ConnectionOptions>) =>
      await exchange(tlsClient(port, client), request()) !== null;
    const optional = await startServer({ mode: "permissive", identity: { ...identity, clientAuth: "optional" } });
    assert.equal(await served(optional.port, {}), true);
    assert.equal(await served(optional.port, { cert: own.cert, key: own.key }), true);
    assert.equal(await served(optional.port, { cert: stranger.cert, key: stranger.key }), false);
    assert.equal(optional.server.requestCount, 2);
    const require = await startServer({ mode: "permissive", identity: { ...identity, clientAuth: "require" } });
    assert.equal(await served(require.port, {}), false);
    assert.equal(await served(require.port, { cert: stranger.cert, key: stranger.key }), false);
    assert.equal(await served(require.port, { cert: own.cert, key: own.key }), true);
    assert.equal(require.server.requestCount, 1);
    await waitFor("the counts", () => optional.server.closeCounts.tls === 1 && require.server.closeCounts.tls === 2);
    assert.match(require.lines.join("\n"), /shows no certificate|certificate is not accepted/);
  });

  it("closes what begins with TLS and is none, and what stops in the handshake", async () => {
    const clock = new ManualClock();
    const { server, port, lines } = await startServer(PERMISSIVE, { clock });
    assert.equal(await exchange(plainClient(port), Uint8Array.of(0x16, 3, 1, 0, 4, 9, 0, 0, 0)), null);
    await waitFor("the count", () => server.closeCounts.tls === 1);
    assert.match(lines.join("\n"), /"reason":"tls"/);
    const silent = exchange(plainClient(port), Uint8Array.of(0x16, 3, 1));
    await waitFor("it is open", () => server.connectionCount === 1);
    clock.advance(30_000);
    assert.equal(await silent, null);
    assert.equal(server.connectionCount, 0);
    await server.stop();
  });

  it("ends handshakes when it stops", async () => {
    const { server, port } = await startServer(PERMISSIVE);
    const silent = exchange(plainClient(port), Uint8Array.of(0x16, 3, 1));
    await waitFor("it is open", () => server.connectionCount === 1);
    await server.stop();
    assert.equal(await silent, null);
  });

  it("is spoken by our own client, which trusts any certificate or those of a CA", async () => {
    const { server, port, lines } = await startServer({
      mode: "enforcing",
      identity: { cert, key, ca, clientAuth: "require" },
    });
    const ask = async (identity: TlsClientOptions | null) => {
      const client = new RemotingClient({ net: runtime.net, clock: runtime.clock, tls: identity });
      cleanups.push(() => client.close());
      const answer = client.invoke(`${HOSTNAME}:${port}`, createRequest(ECHO, {}, new Uint8Array(100_000)), 5000);
      return await answer.then(
        ({ body }) => body.length,
        (error) => error instanceof IoError ? error.kind : String(error),
      );
    };
    const own = tlsIdentity("slave");
    assert.equal(await ask(own), 100_000);
    assert.equal(await ask({ ...own, ca: null }), 100_000);
    assert.notEqual(await ask({ ...own, ca: tlsIdentity("slave", "other_ca").ca }), 100_000);
    assert.notEqual(await ask({ cert: null, key: null, ca }), 100_000);
    assert.notEqual(await ask(null), 100_000);
    assert.equal(server.requestCount, 2);
    assert.match(lines.join("\n"), /tls/);
    const plain = await startServer({ mode: "permissive", identity: { cert, key, ca: null, clientAuth: "none" } });
    const client = new RemotingClient({
      net: runtime.net,
      clock: runtime.clock,
      tls: { cert: null, key: null, ca: null },
    });
    cleanups.push(() => client.close());
    assert.equal((await client.invoke(`${HOSTNAME}:${plain.port}`, createRequest(ECHO), 5000)).code, 0);
  });

  it("does not start with a certificate that can't be used", async () => {
    const identity = { cert, key: tlsIdentity("slave").key, ca: null, clientAuth: "none" } as const;
    await assert.rejects(startServer({ mode: "permissive", identity }), ConfigError);
    await startServer({ mode: "disabled", identity });
  });
});

describe(`${runtime.name}: a load balancer's header on a remoting port`, () => {
  const header = utf8.encode("PROXY TCP4 10.1.2.3 127.0.0.1 51234 10911\r\n");

  it("names who is behind it, before plain frames, in one piece or byte by byte", async () => {
    const { port } = await startServer(PERMISSIVE);
    const [answer] = (await exchange(plainClient(port), concatBytes([header, request()])))!;
    assert.equal(answer!.extFields.get("remoteAddress"), "10.1.2.3:51234");
    const socket = plainClient(port);
    const answers = exchange(socket, new Uint8Array(0));
    await drip(socket, concatBytes([header, request()]));
    assert.equal((await answers)![0]!.extFields.get("remoteAddress"), "10.1.2.3:51234");
  });

  it("may stand before TLS", async () => {
    const { port } = await startServer({ ...PERMISSIVE, mode: "enforcing" });
    const socket = plainClient(port);
    await new Promise<void>((resolve) => socket.write(header, () => resolve()));
    const [answer] = (await exchange(tls.connect({ socket, rejectUnauthorized: false }), request()))!;
    assert.equal(answer!.extFields.get("remoteAddress"), "10.1.2.3:51234");
  });

  it("is refused when it is broken, and gets nobody past the limits", async () => {
    const limits = {
      serverChannelMaxIdleTimeSeconds: 120,
      remotingAllowedPeers: null,
      remotingConnectionsMax: 100,
      remotingConnectionsPerAddressMax: 1,
      remotingFrameTimeout: 30_000,
    };
    const { server, port } = await startServer(PERMISSIVE, { logger: SILENT_LOGGER, limits });
    const first = plainClient(port);
    assert.ok(await exchange(first, concatBytes([header, request()])));
    assert.equal(await exchange(plainClient(port), concatBytes([header, request()])), null);
    first.destroy();
    await waitFor("room", () => server.connectionCount === 0);
    assert.equal(await exchange(plainClient(port), utf8.encode("PROXY TCP4 x y 1 2\r\n")), null);
    await waitFor("the count", () => server.closeCounts.garbage === 1);
    const cut = plainClient(port);
    cut.end(header.subarray(0, 9));
    await waitFor("its end", () => server.closeCounts.peer === 2);
    cut.destroy();
  });
});
