// Serves the admin app. The port is bound at once; what only the admin side needs (Hono, Zod, prom-client) is loaded in the
// background then, so that it delays neither the node's own ports nor the line that says where it listens.

import type { AdminAccess } from "../config/admin_access.ts";
import type { HttpServer, Runtime } from "../runtime/runtime.ts";
import type { AdminPort } from "./admin_port.ts";

/** Lets the line about the bound ports out before the event loop is busy with loading, ms. */
const LOAD_DELAY_MS = 5;

/** Starts serving; `close` ends event streams and waiting readers first. Throws {@link IoError} `inUse`. */
export async function startAdminServer(
  port: AdminPort,
  options: { readonly access: AdminAccess; readonly runtime: Pick<Runtime, "clock" | "serveHttp"> },
): Promise<HttpServer> {
  const { access: { hostname, port: listenPort, token }, runtime } = options;
  const ending = new AbortController();
  const load = async () => {
    const { createAdminApp } = await import("./admin_app.ts");
    return createAdminApp(port, { token, clock: runtime.clock, ending: ending.signal });
  };
  let app: ReturnType<typeof load> | null = null;
  const loaded = () => app ??= load();
  const server = await runtime.serveHttp(
    { hostname, port: listenPort },
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
