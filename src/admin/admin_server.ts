// Serves the admin app. The broker imports this file dynamically, after its listeners are up, so that what only the admin
// side needs (Hono, Zod, prom-client) costs the start-up nothing.

import type { AdminAccess } from "../config/admin_access.ts";
import type { HttpServer, Runtime } from "../runtime/runtime.ts";
import { createAdminApp } from "./admin_app.ts";
import type { AdminPort } from "./admin_port.ts";

/** Starts serving. Throws {@link IoError} `inUse`. */
export function startAdminServer(
  port: AdminPort,
  options: { readonly access: AdminAccess; readonly runtime: Pick<Runtime, "clock" | "serveHttp"> },
): Promise<HttpServer> {
  const { access, runtime } = options;
  const app = createAdminApp(port, { token: access.token, clock: runtime.clock });
  return runtime.serveHttp({ hostname: access.hostname, port: access.port }, (request) => app.fetch(request));
}
