// The server's side of TLS handshakes: how many may be under way, what each of them may take, whom they let in. Listeners
// and servers (node_tls.ts) drive it; what becomes of a secured connection is theirs.

import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import { ConfigError, errorMessage } from "../base/errors.ts";
import { normalHost } from "../base/peer_networks.ts";
import type { Connection, NetAddress, TlsServerOptions } from "./runtime.ts";
import { SYSTEM_CLOCK } from "./system_clock.ts";
import { CipherStream, LEFT, oneLine, SPEAKS_NO_TLS, TlsConnection, tlsReason } from "./tls_connection.ts";

/** A peer has so long for its handshake, ms; a slave that dials gives up after 5,000. */
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** Handshakes under way at once; beyond it {@link firstOfBusiest} makes room. */
const HANDSHAKES_MAX = 256;
/** What a refused peer has for taking its alert, ms. */
const FAREWELL_MS = 200;
/** Oldest version spoken. */
export const MIN_VERSION = "TLSv1.2";
/** Fatal alert protocol_version: what a peer without TLS is told, as not every runtime tells it. */
const NO_TLS_ALERT = new Uint8Array([0x15, 3, 3, 0, 2, 2, 70]);

/** Hears how a handshake ended: the secured connection, or why there is none, in one line. */
export type HandshakeEnd = (connection: TlsConnection | null, detail: string) => void;

/** The handshakes under way of one port. */
export class TlsHandshakes {
  readonly #options: TlsServerOptions;
  readonly #underWay = new Set<ServerHandshake>();

  constructor(options: TlsServerOptions) {
    this.#options = options;
  }

  /** Takes a plain connection over, of which `firstBytes` have been read already. */
  begin(plain: Connection, firstBytes: Uint8Array | null, onEnd: HandshakeEnd): void {
    if (this.#underWay.size >= HANDSHAKES_MAX) {
      firstOfBusiest(this.#underWay).refuse(`${HANDSHAKES_MAX} handshakes are under way, this one began first`);
    }
    const handshake = new ServerHandshake(plain, firstBytes, this.#options, (connection, detail) => {
      this.#underWay.delete(handshake);
      onEnd(connection, detail);
    });
    this.#underWay.add(handshake);
    handshake.start();
  }

  /** Closes them all without a word. */
  abandon(): void {
    for (const handshake of [...this.#underWay]) handshake.abandon();
  }
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
  readonly #options: TlsServerOptions;
  readonly #onEnd: HandshakeEnd;
  #over = false;

  constructor(plain: Connection, firstBytes: Uint8Array | null, options: TlsServerOptions, onEnd: HandshakeEnd) {
    this.remote = plain.remoteAddress;
    this.#plain = plain;
    this.#stream = new CipherStream(plain, firstBytes);
    this.#stream.closesPlain = false;
    this.#options = options;
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
    const { cert, key, ca, clientAuth } = this.#options;
    const server = tls.createServer({
      cert,
      key,
      ...(ca === null ? {} : { ca }),
      requestCert: ca !== null && clientAuth !== "none",
      rejectUnauthorized: clientAuth === "require",
      minVersion: MIN_VERSION,
      allowHalfOpen: true,
    }, (socket) => {
      timer.cancel();
      if (this.#over) return void socket.destroy();
      if (!this.#lets(socket)) {
        return this.refuse(tlsReason(new Error("The peer's certificate is not accepted"), socket));
      }
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

  #lets(socket: tls.TLSSocket): boolean {
    const { ca, clientAuth } = this.#options;
    if (clientAuth === "none" || socket.authorized) return true;
    // Without one that is given, optional is as good as none; one that is given has to be of the CA.
    return clientAuth === "optional" && (ca === null || Object.keys(socket.getPeerCertificate() ?? {}).length === 0);
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

/** Throws {@link ConfigError} for what no handshake could ever succeed with. */
export function checkIdentity({ cert, key, ca }: Pick<TlsServerOptions, "cert" | "key" | "ca">): void {
  const parse = <T>(what: string, make: () => T): T => {
    try {
      return make();
    } catch (error) {
      throw new ConfigError(`The TLS ${what} can't be read: ${oneLine(errorMessage(error))}`);
    }
  };
  const own = parse("certificate", () => new X509Certificate(cert));
  const privateKey = parse("key", () => createPrivateKey(key));
  if (ca !== null) parse("CA certificate", () => new X509Certificate(ca));
  if (!own.checkPrivateKey(privateKey)) throw new ConfigError("The TLS certificate and key do not belong together");
  // What the engine refuses for reasons of its own: a key too short, a broken certificate behind the first.
  parse(
    "identity",
    () => tls.createSecureContext({ cert, key, ...(ca === null ? {} : { ca }), minVersion: MIN_VERSION }),
  );
}
