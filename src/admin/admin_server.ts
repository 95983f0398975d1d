// Serves the admin app. The port is bound at once; what only the admin side needs (Hono, Zod, prom-client) is loaded in the
// background then, so that it delays neither the node's own ports nor the line that says where it listens.

import type { ConnectionLimits } from "../base/connection_limits.ts";
import { formatHostPort } from "../base/host_port.ts";
import { LineLimiter } from "../base/line_limiter.ts";
import type { Logger } from "../base/logger.ts";
import { type AdminAccess, isLoopback } from "../config/admin_access.ts";
import type { HttpGate, HttpServer, NetAddress, Runtime } from "../runtime/runtime.ts";
import type { AdminPort } from "./admin_port.ts";

/** Lets the line about the bound ports out before the event loop is busy with loading, ms. */
const LOAD_DELAY_MS = 5;

/** Beyond loopback a peer has so long for a request's head, ms. */
const HEAD_TIME_MS = 10_000;

/** What {@link startAdminServer} needs beside the port. */
export interface AdminServerOptions {
  readonly access: AdminAccess;
  readonly runtime: Pick<Runtime, "clock" | "serveHttp">;
  readonly logger: Logger;
  /** Counted against beyond loopback; on loopback whoever comes runs on this machine already. */
  readonly limits: ConnectionLimits;
}

/** Starts serving; `close` ends event streams and waiting readers first. Throws {@link IoError} `inUse`. */
export async function startAdminServer(port: AdminPort, options: AdminServerOptions): Promise<HttpServer> {
  const { access: { hostname, port: listenPort, token }, runtime } = options;
  const ending = new AbortController();
  const load = async () => {
    const { createAdminApp } = await import("./admin_app.ts");
    return createAdminApp(port, { token, clock: runtime.clock, ending: ending.signal });
  };
  let app: ReturnType<typeof load> | null = null;
  const loaded = () => app ??= load();
  const server = await runtime.serveHttp(
    { hostname, port: listenPort, ...(isLoopback(hostname) ? {} : { gate: gateOf(options) }) },
    async (request) => (await loaded()).fetch(request),
  );
  // A request may come first; a failure is that request's to tell.
  const loading = runtime.clock.setTimer(LOAD_DELAY_MS, () => void loaded().catch(() => undefined));
  const close = () => {
    loading.cancel();
    ending.abort();
    return server.close();
  };
  return { address: server.address, close };
}

function gateOf({ limits, logger, runtime }: AdminServerOptions): HttpGate {
  const lines = new LineLimiter();
  return {
    admits: (remote: NetAddress) => {
      const refused = limits.admit(remote.hostname);
      if (refused === null) return true;
      const { reason, detail } = refused;
      const repeated = lines.admit(`${reason} ${remote.hostname}`, runtime.clock.monotonic());
      if (repeated !== null) {
        logger.warn("Closed an admin connection", { remote: formatHostPort(remote), reason, detail, repeated });
      }
      return false;
    },
    onClosed: (remote) => limits.release(remote.hostname),
    headTimeMs: HEAD_TIME_MS,
  };
}
