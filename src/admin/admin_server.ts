// Serves the admin app. The broker imports this file dynamically, after its listeners are up, so that what only the admin
// side needs (Hono, Zod, prom-client) costs the start-up nothing.

import type { AdminAccess } from "../config/admin_access.ts";
import type { HttpServer, Runtime } from "../runtime/runtime.ts";
import { createAdminApp } from "./admin_app.ts";
import type { AdminPort } from "./admin_port.ts";

/** Starts serving; `close` ends event streams and waiting readers first. Throws {@link IoError} `inUse`. */
export async function startAdminServer(
  port: AdminPort,
  options: { readonly access: AdminAccess; readonly runtime: Pick<Runtime, "clock" | "serveHttp"> },
): Promise<HttpServer> {
  const { access: { hostname, port: listenPort, token }, runtime } = options;
  const ending = new AbortController();
  const app = createAdminApp(port, { token, clock: runtime.clock, ending: ending.signal });
  const server = await runtime.serveHttp({ hostname, port: listenPort }, (request) => app.fetch(request));
  const close = () => {
    ending.abort();
    return server.close();
  };
  return { address: server.address, close };
}
