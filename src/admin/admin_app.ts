// The admin API as one Hono app over an AdminPort: routes, checks, error answers; no socket, no file. Whoever serves it
// (admin_server.ts, or app.request() in tests) hands it requests in the fetch style.

import { OpenAPIHono } from "@hono/zod-openapi";
import type { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { HTTPException } from "hono/http-exception";
import type { Clock } from "../runtime/runtime.ts";
import { errorMessage } from "../base/errors.ts";
import type { AdminPort } from "./admin_port.ts";
import { addClientRoutes } from "./client_routes.ts";
import { limitBodies } from "./body_limits.ts";
import { EventStreams } from "./events.ts";
import { checkRequest, OPEN_PATHS, SAFE_HEADERS } from "./guard.ts";
import { addMessageRoutes } from "./message_routes.ts";
import { renderMetrics } from "./metrics.ts";
import { addNodeRoutes } from "./node_routes.ts";
import { PAGE_HTML, pageHeaders } from "./page.ts";

/** Largest body of a put, as JSON; of anything else {@link SMALL_BODY_MAX}. */
const PUT_BODY_MAX = 16 * 1024 * 1024;
const SMALL_BODY_MAX = 64 * 1024;
const EVENT_STREAMS_MAX = 64;

/** What the app needs beside the port. */
export interface AdminAppOptions {
  /** `null` on a node that asks for none, which only a loopback address may do. */
  readonly token: string | null;
  readonly clock: Clock;
  /** Aborted when the node stops: ends event streams and readers that wait. */
  readonly ending: AbortSignal;
}

/** Makes the app. */
export function createAdminApp(port: AdminPort, options: AdminAppOptions): OpenAPIHono {
  const app = new OpenAPIHono({
    defaultHook: (result, c) => result.success ? undefined : c.json({ error: describeIssues(result) }, 400),
  });
  app.use(async (c, next) => {
    const refused = checkRequest(c.req.raw, c.req.path, options.token);
    if (refused === null) await next();
    else {
      if (refused.status === 401) c.header("WWW-Authenticate", 'Bearer realm="twinlog"');
      c.res = c.json({ error: refused.error }, refused.status);
    }
    for (const [name, value] of Object.entries(SAFE_HEADERS)) {
      if (!c.res.headers.has(name)) c.res.headers.set(name, value);
    }
  });
  app.use(limitBodies(options.clock, (path) => {
    // As base64 inside JSON a message takes a third more; the rest is for its properties.
    const putMax = Math.min(2 * port.config().maxMessageSize + SMALL_BODY_MAX, PUT_BODY_MAX);
    return path.startsWith("/topics/") ? putMax : SMALL_BODY_MAX;
  }));
  addNodeRoutes(app, port);
  addMessageRoutes(app, port, options);
  addClientRoutes(app, port);
  addPlainRoutes(app, port, new EventStreams(port, { ...options, streamsMax: EVENT_STREAMS_MAX }));
  app.get("/openapi.json", (c) => {
    const document = app.getOpenAPI31Document({
      openapi: "3.1.0",
      info: { title: "Twinlog admin API", version: port.status().version },
      servers: [{ url: new URL(c.req.url).origin }],
    });
    return c.json(withGuard(document), 200);
  });
  app.notFound((c) =>
    c.json({ error: `${c.req.method} ${c.req.path} does not exist, /openapi.json lists what does` }, 404)
  );
  app.onError(answerError);
  return app;
}

/** The document with what every route may answer before it is asked: the guard's refusals, and those of a body's type. */
function withGuard<D extends ReturnType<OpenAPIHono["getOpenAPI31Document"]>>(document: D): D {
  const refusal = (description: string) => ({
    description,
    content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } },
  });
  for (const [path, methods] of Object.entries(document.paths ?? {})) {
    for (const route of Object.values(methods) as { requestBody?: unknown; responses: Record<string, unknown> }[]) {
      if (!OPEN_PATHS.has(path)) route.responses["401"] ??= refusal("No token, or another node's");
      route.responses["403"] ??= refusal("Asked by another site's page, or, without a token, by a host name");
      if (route.requestBody !== undefined) route.responses["415"] ??= refusal("Content-Type is not application/json");
    }
  }
  return document;
}

/** The routes whose answers are not JSON. */
function addPlainRoutes(app: OpenAPIHono, port: AdminPort, streams: EventStreams): void {
  const described = (path: string, summary: string, type: string) =>
    app.openAPIRegistry.registerPath({
      method: "get",
      path,
      summary,
      responses: { 200: { description: summary, content: { [type]: { schema: { type: "string" } } } } },
    });
  described("/metrics", "Figures in the Prometheus text format", "text/plain");
  app.get("/metrics", async (c) => {
    const { text, contentType } = await renderMetrics(port);
    return c.body(text, 200, { "content-type": contentType });
  });
  described(
    "/events",
    "The figures of /ha once a second and at every change, as server-sent events",
    "text/event-stream",
  );
  app.get("/events", (c) => {
    const headers = { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" };
    // Nobody would ever read, or end, the stream of a HEAD request.
    if (c.req.method === "HEAD") return c.body(null, 200, headers);
    const stream = streams.start();
    if (stream === null) return c.json({ error: `Too many event streams, wanted at most ${EVENT_STREAMS_MAX}` }, 503);
    return c.body(stream, 200, headers);
  });
  described("/", "A page that shows it all live", "text/html");
  app.get("/", async (c) => c.body(PAGE_HTML, 200, await pageHeaders()));
}

type Issue = z.core.$ZodIssue;

/** Every issue of a request as one line: where, the value seen, and what was wanted. */
function describeIssues(result: { target: string; data?: unknown; error: { issues: readonly Issue[] } }): string {
  return result.error.issues.slice(0, 5).map((issue) => {
    const whole = result.target === "json" ? "Body" : "Query";
    const name = issue.path.length > 0 ? issue.path.join(".") : whole;
    if (issue.code === "unrecognized_keys") return `${whole} has ${issue.keys.join(", ")}, wanted no such key`;
    return `${name}${seenAt(result.data, issue.path)}, ${wantedBy(issue)}`;
  }).join("; ");
}

/** ` is VALUE` for a value short enough to show. */
function seenAt(data: unknown, path: readonly PropertyKey[]): string {
  if (path.length === 0) return " is not valid";
  const value = path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], data);
  if (value === undefined) return " is missing";
  // It may be nested so deeply that showing it fails.
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? " is a list" : " is an object";
  const text = JSON.stringify(value);
  return ` is ${text.length > SEEN_MAX ? `${text.slice(0, SEEN_MAX)}…` : text}`;
}

const SEEN_MAX = 100;
const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: "text",
  int: "a whole number",
  number: "a number",
  boolean: "true or false",
  object: "an object",
  record: "an object",
};

function wantedBy(issue: Issue): string {
  if (issue.code === "invalid_value") return `wanted one of ${issue.values.join(", ")}`;
  if (issue.code === "invalid_type") return `wanted ${TYPE_WORDS[issue.expected] ?? issue.expected}`;
  const unit = "origin" in issue && issue.origin === "string" ? " characters" : "";
  if (issue.code === "too_small") return `wanted at least ${issue.minimum}${unit}`;
  if (issue.code === "too_big") return `wanted at most ${issue.maximum}${unit}`;
  if (issue.code === "invalid_union") return "wanted text, a number, true, false or null";
  return issue.message;
}

function answerError(error: Error, c: Context): Response {
  if (error instanceof HTTPException && error.status < 500) {
    const wanted = error.status === 415 ? "Content-Type is not application/json" : error.message;
    return c.json({ error: wanted }, error.status);
  }
  return c.json({ error: `The node failed to answer: ${errorMessage(error)}` }, 500);
}
