// TLS behind Net, over node:tls, which all three runtimes ship (Deno.listenTls can't ask for a client's certificate): a
// listener and a connector between nodes that both show a certificate of one CA, and a server that secures what a port
// accepted in plain. The bytes beneath travel on the adapter's own plain connections.

import type { Duplex } from "node:stream";
import tls from "node:tls";
import { errorMessage, IoError } from "../base/errors.ts";
import { AcceptQueue } from "./accept_queue.ts";
import { errorCode } from "./map_error.ts";
import { checkIdentity, MIN_VERSION, TlsHandshakes } from "./node_tls_handshakes.ts";
import type { Connection, ConnectOptions, Listener, TlsListenOptions, TlsServer, TlsServerOptions } from "./runtime.ts";
import { SYSTEM_CLOCK } from "./system_clock.ts";
import { CipherStream, LEFT, oneLine, TlsConnection, tlsReason } from "./tls_connection.ts";

/** {@link Net.listen} with TLS: secures what comes out of a plain listener, which it owns from now on. */
export async function listenTls(
  { identity, admits, onRefused }: TlsListenOptions,
  listen: () => Promise<Listener>,
): Promise<Listener> {
  checkIdentity(identity);
  const listener = await listen();
  const secured = new AcceptQueue();
  const handshakes = new TlsHandshakes({ ...identity, clientAuth: "require" });
  const accepting = (async () => {
    for (let plain = await listener.accept(); plain !== null; plain = await listener.accept()) {
      const { remoteAddress } = plain;
      if (!admits(remoteAddress)) plain.close();
      else {
        handshakes.begin(plain, null, (connection, detail) => {
          if (connection !== null) secured.push(connection);
          else onRefused(remoteAddress, detail);
        });
      }
    }
  })();
  accepting.catch(() => secured.close());
  return {
    address: listener.address,
    accept: () => secured.next(),
    close() {
      listener.close();
      secured.close();
      handshakes.abandon();
    },
  };
}

/** {@link Net.tlsServer}. */
export function createTlsServer(options: TlsServerOptions): TlsServer {
  checkIdentity(options);
  const handshakes = new TlsHandshakes(options);
  return {
    secure: (plain, firstBytes) =>
      new Promise((resolve, reject) => {
        handshakes.begin(plain, firstBytes, (connection, detail) => {
          if (connection !== null) resolve(connection);
          else reject(new IoError("other", detail));
        });
      }),
  };
}

/** {@link Net.connect} with TLS, over a plain connection that `connect` makes within the time given to it. */
export async function connectTls(
  { hostname, port, timeoutMs, tls: { cert, key, ca } }: Required<ConnectOptions>,
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
        ...(cert === null || key === null ? {} : { cert, key }),
        ...(ca === null ? {} : { ca }),
        socket: stream as Duplex,
        minVersion: MIN_VERSION,
        rejectUnauthorized: ca !== null,
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
