// TLS behind Net: who gets in, what both sides are told, what a flood of handshakes costs. That the bytes then travel as
// on any connection is the conformance suite's matter (tests/conformance/real_test.ts).

import assert from "node:assert/strict";
import * as net from "node:net";
import { afterEach, describe, it } from "node:test";
import * as tls from "node:tls";
import { ConfigError, IoError } from "../../src/base/errors.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Connection, Listener, NetAddress, TlsIdentity } from "../../src/runtime/runtime.ts";
import { SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { pattern, readExactly } from "../conformance/support.ts";
import { tlsIdentity } from "../support/tls.ts";

const runtime = await loadRuntime();
const HOSTNAME = "127.0.0.1";
const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

async function startListener(admits: (remote: NetAddress) => boolean = () => true) {
  const refused: string[] = [];
  const accepted: Connection[] = [];
  const listener = await runtime.net.listen({
    hostname: HOSTNAME,
    port: 0,
    tls: {
      identity: tlsIdentity("master"),
      admits,
      onRefused: (remote, detail) => {
        assert.equal(remote.hostname, HOSTNAME);
        assert.ok(remote.port > 0);
        refused.push(detail);
      },
    },
  });
  cleanups.push(() => {
    listener.close();
    for (const connection of accepted) connection.close();
  });
  void (async () => {
    for (let one = await listener.accept(); one !== null; one = await listener.accept()) accepted.push(one);
  })();
  return { port: listener.address.port, refused, accepted };
}

/** What became of a try: `served`, or the text of the error, at once or at the first read. */
async function tryConnect(port: number, identity: TlsIdentity): Promise<string> {
  try {
    const connection = await runtime.net.connect({ hostname: HOSTNAME, port, timeoutMs: 5000, tls: identity });
    cleanups.push(() => connection.close());
    return await connection.read() === null ? "closed" : "served";
  } catch (error) {
    assert.ok(error instanceof IoError, String(error));
    return error.message;
  }
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = runtime.clock.monotonic() + 20_000;
  while (!condition()) {
    assert.ok(runtime.clock.monotonic() < deadline, `Still waiting: ${what}`);
    await new Promise<void>((resolve) => runtime.clock.setTimer(2, resolve));
  }
}

describe(`${runtime.name}: TLS with certificates on both sides`, () => {
  it("lets a peer in whose certificate is of the CA, and tells both addresses", async () => {
    const { port, accepted, refused } = await startListener();
    const client = await runtime.net.connect({ hostname: HOSTNAME, port, timeoutMs: 5000, tls: tlsIdentity("slave") });
    cleanups.push(() => client.close());
    await until(() => accepted.length === 1, "the connection");
    const server = accepted[0]!;
    assert.deepEqual(server.remoteAddress, client.localAddress);
    await client.write(pattern(100_000));
    assert.ok(Buffer.from(await readExactly(server, 100_000)).equals(pattern(100_000)));
    assert.deepEqual(refused, []);
  });

  it("refuses no certificate, a stranger's and an expired one; none is ever accepted", async () => {
    const { port, accepted, refused } = await startListener();
    const { ca } = tlsIdentity("slave");
    const bare = tls.connect({ host: HOSTNAME, port, ca, checkServerIdentity: () => undefined });
    bare.on("error", () => {});
    cleanups.push(() => bare.destroy());
    await until(() => refused.length === 1, "the bare one");
    assert.notEqual(await tryConnect(port, tlsIdentity("stranger")), "served");
    await until(() => refused.length === 2, "the stranger");
    assert.notEqual(await tryConnect(port, tlsIdentity("expired")), "served");
    await until(() => refused.length === 3, "the expired one");
    assert.match(refused[0]!, /shows no certificate/);
    assert.match(refused[1]!, /certificate is not accepted: UNABLE_TO/);
    assert.match(refused[2]!, /certificate is not accepted: (CERT_HAS_EXPIRED|UNABLE_TO)/);
    assert.deepEqual(accepted, []);
  });

  it("does not talk to a listener whose certificate is not of the CA", async () => {
    const { port, accepted } = await startListener();
    const error = await tryConnect(port, tlsIdentity("slave", "other_ca"));
    assert.match(
      error,
      /^Connect to 127\.0\.0\.1:\d+ with TLS failed: The peer's certificate is not accepted: [A-Z_]+$/,
    );
    assert.deepEqual(accepted, []);
  });

  it("wants TLS 1.2 or later", async () => {
    const { port, refused, accepted } = await startListener();
    const old = await runtime.net.connect({ hostname: HOSTNAME, port, timeoutMs: 5000 });
    cleanups.push(() => old.close());
    await old.write(clientHello(2));
    await until(() => refused.length === 1, "the refusal");
    assert.match(refused[0]!, /TLS/);
    // A fatal alert, or no word; never a server's hello (type 22).
    const answer = await old.read().catch(() => null);
    assert.ok(answer === null || answer[0] === 0x15, String(answer));
    const newer = await runtime.net.connect({ hostname: HOSTNAME, port, timeoutMs: 5000 });
    cleanups.push(() => newer.close());
    await newer.write(clientHello(3));
    assert.equal((await newer.read())![0], 22);
    assert.deepEqual(accepted, []);
  });

  it("says so on both sides when one has no TLS", async () => {
    const { port, refused } = await startListener();
    const plain = await runtime.net.connect({ hostname: HOSTNAME, port, timeoutMs: 5000 });
    cleanups.push(() => plain.close());
    await plain.write(new Uint8Array(8));
    await until(() => refused.length === 1, "the refusal");
    assert.match(refused[0]!, /The peer speaks no TLS/);
    // An alert: what the slave's decoder knows a TLS master by.
    assert.equal((await plain.read())![0], 0x15);

    const listener = await runtime.net.listen({ hostname: HOSTNAME, port: 0 });
    cleanups.push(() => listener.close());
    const closing = listener.accept().then(async (one) => {
      await one!.read();
      one!.close();
    });
    const error = await tryConnect(listener.address.port, tlsIdentity("slave"));
    await closing;
    assert.match(error, /with TLS failed: .*(during the TLS handshake|speaks no TLS)/);
  });

  it("asks who may come before anything else", async () => {
    const asked: NetAddress[] = [];
    const { port, accepted, refused } = await startListener((remote) => {
      asked.push(remote);
      return false;
    });
    assert.match(await tryConnect(port, tlsIdentity("slave")), /during the TLS handshake/);
    assert.deepEqual([asked.length, asked[0]!.hostname, accepted.length, refused.length], [1, HOSTNAME, 0, 0]);
  });

  it("gives up on a peer that stops in its handshake, and makes room among those that do", async () => {
    const { port, refused, accepted } = await startListener();
    const silent: Connection[] = [];
    for (let i = 0; i < 300; i++) silent.push(await runtime.net.connect({ hostname: HOSTNAME, port, timeoutMs: 5000 }));
    cleanups.push(() => {
      for (const one of silent) one.close();
    });
    await until(() => refused.length >= 44, "room");
    assert.match(refused[0]!, /256 handshakes are under way/);
    const client = await runtime.net.connect({ hostname: HOSTNAME, port, timeoutMs: 5000, tls: tlsIdentity("slave") });
    cleanups.push(() => client.close());
    await until(() => accepted.length === 1, "the slave");
    for (const one of silent) one.close();
    await until(() => refused.length >= 300, "an end of each");
  });

  it("makes room among those of the address that has most of them", async () => {
    const { port, refused, accepted } = await startListener();
    const silent: net.Socket[] = [];
    cleanups.push(() => {
      for (const one of silent) one.destroy();
    });
    const add = async (localAddress: string) => {
      const socket = net.connect({ host: HOSTNAME, port, localAddress });
      socket.on("error", () => {});
      silent.push(socket);
      await new Promise<void>((resolve) => socket.once("connect", resolve));
      return socket;
    };
    const other = await add("127.0.0.2");
    let left = false;
    other.once("close", () => left = true);
    for (let i = 0; i < 300; i++) await add(HOSTNAME);
    await until(() => refused.length >= 45, "room");
    assert.deepEqual([left, accepted.length], [false, 0]);
  });

  it("times out at a peer that never answers the handshake", async () => {
    const listener = await runtime.net.listen({ hostname: HOSTNAME, port: 0 });
    cleanups.push(() => listener.close());
    const options = { hostname: HOSTNAME, port: listener.address.port, timeoutMs: 100, tls: tlsIdentity("slave") };
    await assert.rejects(runtime.net.connect(options), (error) => error instanceof IoError && error.kind === "timeout");
  });

  it("refuses to listen with files that don't belong together, or are none", async () => {
    const good = tlsIdentity("master");
    const broken: [Partial<TlsIdentity>, RegExp][] = [
      [{ key: tlsIdentity("slave").key }, /certificate and key do not belong together/],
      [{ cert: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }, /TLS certificate can't be read/],
      [{ key: "x" }, /TLS key can't be read/],
      [{ ca: "" }, /TLS CA certificate can't be read/],
    ];
    for (const [change, message] of broken) {
      const options = { identity: { ...good, ...change }, admits: () => true, onRefused: () => {} };
      await assert.rejects(
        runtime.net.listen({ hostname: HOSTNAME, port: 0, tls: options }),
        (error) => error instanceof ConfigError && message.test(error.message) && !error.message.includes("BEGIN"),
        String(message),
      );
    }
  });

  it("never listens in vain with an identity that its TLS engine refuses later than others", async () => {
    const cert = `${tlsIdentity("master").cert}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`;
    const tls = { identity: { ...tlsIdentity("master"), cert }, admits: () => true, onRefused: () => {} };
    let listener: Listener;
    try {
      listener = await runtime.net.listen({ hostname: HOSTNAME, port: 0, tls });
    } catch (error) {
      return assert.ok(error instanceof ConfigError && /TLS identity can't be read/.test(error.message), String(error));
    }
    cleanups.push(() => listener.close());
    for (let i = 0; i < 2; i++) {
      assert.doesNotMatch(await tryConnect(listener.address.port, tlsIdentity("slave")), /no end of the TLS handshake/);
    }
  });

  it("gives no other error than an IoError where such an identity can't be used to connect", async () => {
    const { port } = await startListener();
    const cert = `${tlsIdentity("slave").cert}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`;
    const identity = { ...tlsIdentity("slave"), cert };
    // Deno sends it as it is, and it's the listener that refuses.
    await runtime.net.connect({ hostname: HOSTNAME, port, timeoutMs: 5000, tls: identity })
      .then((connection) => connection.close(), (error) => assert.ok(error instanceof IoError, String(error)));
  });

  it("is refused by simulated machines", async () => {
    const world = new SimulatedWorld(1);
    const { net } = world.host("a").runtime;
    const listening = net.listen({
      hostname: "0.0.0.0",
      port: 1,
      tls: { identity: tlsIdentity("master"), admits: () => true, onRefused: () => {} },
    });
    await assert.rejects(world.drive(listening), (error) => error instanceof ConfigError);
  });
});

/** The first bytes of a client that speaks TLS 1.`minor - 1` at most, with ciphers and curves of 1.2. */
function clientHello(minor: number): Uint8Array {
  const ciphers = [0xc0, 0x2b, 0xc0, 0x09, 0xc0, 0x13];
  const curves = [0, 10, 0, 4, 0, 2, 0, 23];
  const signatures = [0, 13, 0, 4, 0, 2, 4, 3];
  const points = [0, 11, 0, 2, 1, 0];
  const extensions = [...curves, ...signatures, ...points];
  const body = [
    ...[3, minor, ...new Array<number>(32).fill(7), 0, 0, ciphers.length, ...ciphers, 1, 0],
    ...[0, extensions.length, ...extensions],
  ];
  return Uint8Array.from([22, 3, 1, 0, body.length + 4, 1, 0, 0, body.length, ...body]);
}
