// TLS behind Net, over node:tls, which all three runtimes ship (Deno.listenTls can't ask for a client's certificate). Both
// ends show a certificate of one CA, or there is no connection. The bytes beneath travel on the adapter's own plain
// connections; who may come at all is the listener's owner's to say, how many handshakes may be under way is said here.

import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { ConfigError, errorMessage, IoError } from "../base/errors.ts";
import { normalHost } from "../base/peer_networks.ts";
import { AcceptQueue } from "./accept_queue.ts";
import { errorCode } from "./map_error.ts";
import type { Connection, ConnectOptions, Listener, NetAddress, TlsIdentity, TlsListenOptions } from "./runtime.ts";
import { SYSTEM_CLOCK } from "./system_clock.ts";
import { CipherStream, LEFT, oneLine, SPEAKS_NO_TLS, TlsConnection, tlsReason } from "./tls_connection.ts";

/** A peer has so long for its handshake, ms; a slave that dials gives up after 5,000. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Handshakes under way at once; beyond it {@link firstOfBusiest} makes room. */
const HANDSHAKES_MAX = 256;
/** What a refused peer has for taking its alert, ms. */
const FAREWELL_MS = 200;
const MIN_VERSION = "TLSv1.2";
/** Fatal alert protocol_version: what a peer without TLS is told, as not every runtime tells it. */
const NO_TLS_ALERT = new Uint8Array([0x15, 3, 3, 0, 2, 2, 70]);

/** {@link Net.listen} with TLS: secures what comes out of a plain listener, which it owns from now on. */
export async function listenTls(
  { identity, admits, onRefused }: TlsListenOptions,
  listen: () => Promise<Listener>,
): Promise<Listener> {
  checkIdentity(identity);
  const listener = await listen();
  const secured = new AcceptQueue();
  const handshakes = new Set<ServerHandshake>();
  const accepting = (async () => {
    for (let plain = await listener.accept(); plain !== null; plain = await listener.accept()) {
      if (!admits(plain.remoteAddress)) {
        plain.close();
        continue;
      }
      if (handshakes.size >= HANDSHAKES_MAX) {
        firstOfBusiest(handshakes).refuse(`${HANDSHAKES_MAX} handshakes are under way, this one began first`);
      }
      const handshake = new ServerHandshake(plain, identity, (connection, detail) => {
        handshakes.delete(handshake);
        if (connection !== null) secured.push(connection);
        else onRefused(handshake.remote, detail);
      });
      handshakes.add(handshake);
      handshake.start();
    }
  })();
  accepting.catch(() => secured.close());
  return {
    address: listener.address,
    accept: () => secured.next(),
    close() {
      listener.close();
      secured.close();
      for (const handshake of [...handshakes]) handshake.abandon();
    },
  };
}

/** The one that began first at the address with most of them: a flood from one host does not push out another's. */
function firstOfBusiest(handshakes: Iterable<ServerHandshake>): ServerHandshake {
  const byHost = Map.groupBy(handshakes, ({ remote }) => normalHost(remote.hostname));
  return [...byHost.values()].reduce((busiest, each) => each.length > busiest.length ? each : busiest)[0]!;
}

/** One accepted peer until it is secured or refused. */
class ServerHandshake {
  readonly remote: NetAddress;
  readonly #plain: Connection;
  readonly #stream: CipherStream;
  readonly #identity: TlsIdentity;
  readonly #onEnd: (connection: TlsConnection | null, detail: string) => void;
  #over = false;

  constructor(
    plain: Connection,
    identity: TlsIdentity,
    onEnd: (connection: TlsConnection | null, detail: string) => void,
  ) {
    this.remote = plain.remoteAddress;
    this.#plain = plain;
    this.#stream = new CipherStream(plain);
    this.#stream.closesPlain = false;
    this.#identity = identity;
    this.#onEnd = onEnd;
  }

  start(): void {
    const stream = this.#stream;
    const timer = SYSTEM_CLOCK.setTimer(
      HANDSHAKE_TIMEOUT_MS,
      () => this.refuse(`No TLS handshake within ${HANDSHAKE_TIMEOUT_MS} ms`),
    );
    // A server of its own: its events don't say which connection they are about, and a TLSSocket without a server lets
    // strangers in on some runtimes.
    const server = tls.createServer({
      ...this.#identity,
      requestCert: true,
      rejectUnauthorized: true,
      minVersion: MIN_VERSION,
      allowHalfOpen: true,
    }, (socket) => {
      timer.cancel();
      if (this.#over || !socket.authorized) return void socket.destroy();
      this.#over = true;
      stream.closesPlain = true;
      this.#onEnd(new TlsConnection(this.#plain, stream, socket), "");
    });
    server.on("tlsClientError", (error, socket) => this.refuse(tlsReason(error, socket)));
    // A turn later than the reason, when there is one.
    const left = () => void SYSTEM_CLOCK.setTimer(0, () => this.refuse(LEFT));
    stream.onFailure = stream.onEnd = left;
    this.#plain.closed.then(() => {
      timer.cancel();
      left();
    });
    server.emit("connection", stream as Duplex);
  }

  refuse(detail: string): void {
    if (this.#over) return;
    this.#over = true;
    void this.#leave(detail === SPEAKS_NO_TLS ? NO_TLS_ALERT : null);
    this.#onEnd(null, detail);
  }

  /** The alert that tells the peer goes out first. */
  async #leave(alert: Uint8Array | null): Promise<void> {
    const timer = SYSTEM_CLOCK.setTimer(FAREWELL_MS, () => this.#plain.close());
    try {
      await this.#stream.drained();
      if (alert !== null) await this.#plain.write(alert);
    } catch {
      // It is gone, or another write is under way.
    }
    timer.cancel();
    this.#plain.close();
    this.#stream.destroy();
  }

  abandon(): void {
    this.#over = true;
    this.#plain.close();
  }
}

/** {@link Net.connect} with TLS, over a plain connection that `connect` makes within the time given to it. */
export async function connectTls(
  { hostname, port, timeoutMs, tls: identity }: Required<ConnectOptions>,
  connect: () => Promise<Connection>,
): Promise<Connection> {
  const action = `Connect to ${hostname}:${port} with TLS`;
  const startedAt = SYSTEM_CLOCK.monotonic();
  const plain = await connect();
  const stream = new CipherStream(plain);
  const failure = (detail: string, code?: string) => new IoError("other", `${action} failed: ${detail}`, code);
  return await new Promise((resolve, reject) => {
    const leftMs = Math.max(timeoutMs - (SYSTEM_CLOCK.monotonic() - startedAt), 1);
    const timer = SYSTEM_CLOCK.setTimer(leftMs, () => {
      fail(new IoError("timeout", `${action} failed: no end of the TLS handshake in ${timeoutMs} ms`));
    });
    const fail = (error: IoError): void => {
      timer.cancel();
      plain.close();
      reject(error);
    };
    // A turn later than the reason, when there is one.
    const ended = () => void SYSTEM_CLOCK.setTimer(0, () => fail(failure(NO_TLS_THERE)));
    stream.onFailure = stream.onEnd = ended;
    let socket: tls.TLSSocket;
    try {
      socket = tls.connect({
        ...identity,
        socket: stream as Duplex,
        minVersion: MIN_VERSION,
        rejectUnauthorized: true,
        // The CA is the cluster's own: whoever has a certificate of it is one of the cluster's nodes.
        checkServerIdentity: () => undefined,
        allowHalfOpen: true,
      } as tls.ConnectionOptions);
    } catch (error) {
      return fail(failure(`The identity can't be used: ${oneLine(errorMessage(error))}`, errorCode(error)));
    }
    const failed = (error: Error): void => {
      const reason = tlsReason(error, socket);
      fail(failure(reason === LEFT ? NO_TLS_THERE : reason, errorCode(error)));
    };
    socket.on("error", failed);
    socket.on("end", ended);
    socket.on("close", ended);
    socket.once("secureConnect", () => {
      timer.cancel();
      for (const [event, listener] of [["error", failed], ["end", ended], ["close", ended]] as const) {
        socket.off(event, listener);
      }
      resolve(new TlsConnection(plain, stream, socket));
    });
  });
}

const NO_TLS_THERE = `${LEFT}; it may not have TLS on`;

/** Throws {@link ConfigError} for what no handshake could ever succeed with. */
function checkIdentity({ cert, key, ca }: TlsIdentity): void {
  const parse = <T>(what: string, make: () => T): T => {
    try {
      return make();
    } catch (error) {
      throw new ConfigError(`The TLS ${what} can't be read: ${oneLine(errorMessage(error))}`);
    }
  };
  const own = parse("certificate", () => new X509Certificate(cert));
  const privateKey = parse("key", () => createPrivateKey(key));
  parse("CA certificate", () => new X509Certificate(ca));
  if (!own.checkPrivateKey(privateKey)) throw new ConfigError("The TLS certificate and key do not belong together");
  // What the engine refuses for reasons of its own: a key too short, a broken certificate behind the first.
  parse("identity", () => tls.createSecureContext({ cert, key, ca, minVersion: MIN_VERSION }));
}
