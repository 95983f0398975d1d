// Node's adapter: node:net behind Net, and the shared files, clock and process. No protocol and no policy; what a socket
// does is in node_connection.ts.

import net from "node:net";
import process from "node:process";
import { ConfigError, IoError } from "../base/errors.ts";
import { AcceptQueue } from "./accept_queue.ts";
import { toIoError, toListenError } from "./map_error.ts";
import { NodeConnection, ReceivedChunks, ReceivedRing } from "./node_connection.ts";
import { NodeFileSystem } from "./node_fs.ts";
import { serveNodeHttp } from "./node_http.ts";
import { NODE_PROCESS } from "./node_process.ts";
import type {
  Connection,
  ConnectOptions,
  Listener,
  ListenOptions,
  Net,
  Runtime,
  TlsServer,
  TlsServerOptions,
} from "./runtime.ts";
import { SYSTEM_CLOCK, SYSTEM_RANDOM, TURNING_CLOCK } from "./system_clock.ts";

const LISTEN_BACKLOG = 1024;

class NodeNet implements Net {
  async listen({ hostname, port, tls }: ListenOptions): Promise<Listener> {
    if (tls !== undefined) return (await import("./node_tls.ts")).listenTls(tls, () => this.listen({ hostname, port }));
    const queue = new AcceptQueue();
    const server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (socket) => {
      queue.push(new NodeConnection(socket, new ReceivedChunks(socket)));
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", (error) => reject(toListenError(error, hostname, port)));
      server.listen({ host: hostname, port, backlog: LISTEN_BACKLOG }, resolve);
    });
    // Failures to accept (too many open files) concern one connection, not the listener.
    server.on("error", () => {});
    const bound = server.address() as net.AddressInfo;
    return {
      address: { hostname: bound.address, port: bound.port },
      accept: () => queue.next(),
      close() {
        server.close();
        queue.close();
      },
    };
  }

  async tlsServer(options: TlsServerOptions): Promise<TlsServer> {
    return (await import("./node_tls.ts")).createTlsServer(options);
  }

  async connect({ hostname, port, timeoutMs, tls }: ConnectOptions): Promise<Connection> {
    if (tls !== undefined) {
      const { connectTls } = await import("./node_tls.ts");
      return connectTls({ hostname, port, timeoutMs, tls }, () => this.connect({ hostname, port, timeoutMs }));
    }
    const action = `Connect to ${hostname}:${port}`;
    return await new Promise((resolve, reject) => {
      const received = new ReceivedRing();
      const socket = net.connect({
        host: hostname,
        port,
        allowHalfOpen: true,
        noDelay: true,
        onread: received.onread as net.OnReadOpts,
      });
      const timer = SYSTEM_CLOCK.setTimer(timeoutMs, () => {
        fail(new IoError("timeout", `${action} failed: no answer in ${timeoutMs} ms`));
        socket.destroy();
      });
      const fail = (error: unknown): void => {
        timer.cancel();
        reject(toIoError(error, action));
      };
      socket.once("error", fail);
      socket.once("connect", () => {
        socket.off("error", fail);
        timer.cancel();
        resolve(new NodeConnection(socket, received));
      });
    });
  }
}

/** What package.json asks for. An older one lacks functions that we call, and would say no more than which. */
const NODE_MAJOR_MIN = 24;

/** The runtime when running on Node. Throws {@link ConfigError} on one that is too old. */
export function createNodeRuntime(): Runtime {
  if (Number.parseInt(process.versions.node) < NODE_MAJOR_MIN) {
    throw new ConfigError(`Node is ${process.versions.node}, wanted ${NODE_MAJOR_MIN} or later`);
  }
  return {
    name: "node",
    version: process.versions.node,
    net: new NodeNet(),
    fs: new NodeFileSystem(),
    clock: TURNING_CLOCK,
    random: SYSTEM_RANDOM,
    process: NODE_PROCESS,
    serveHttp: serveNodeHttp,
  };
}
