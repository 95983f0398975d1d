// The routes about the node as a whole: probes, replication, role, configuration. Each asks the port and answers; what may
// come in is checked by schemas.ts before a handler runs.

import { createRoute } from "@hono/zod-openapi";
import type { OpenAPIHono } from "@hono/zod-openapi";
import { z } from "@hono/zod-openapi";
import { ConfigError } from "../base/errors.ts";
import { parseConfigPatch } from "../config/load.ts";
import { CONFIG_KEYS, settingOf } from "../config/schema.ts";
import type { AdminOutcome, AdminPort, NodeStatus, RoleRequest } from "./admin_port.ts";
import * as schemas from "./schemas.ts";

const json = <S extends z.ZodType>(schema: S) => ({ "application/json": { schema } });
const refusal = (description: string) => ({ description, content: json(schemas.ErrorAnswer) });
const body = <S extends z.ZodType>(schema: S) => ({ body: { required: true, content: json(schema) } });
const status = { description: "The node's figures", content: json(schemas.StatusAnswer) };
const changed = {
  200: status,
  400: refusal("Not a valid request"),
  409: refusal("Can't or shouldn't be done now: why"),
};
const Health = z.object({ status: z.string() }).openapi("Health");

const ROUTES = {
  healthz: createRoute({
    method: "get",
    path: "/healthz",
    summary: "The process is alive",
    responses: { 200: { description: "Alive", content: json(Health) } },
  }),
  readyz: createRoute({
    method: "get",
    path: "/readyz",
    summary: "The store is recovered and, for a slave, the lag is small",
    responses: { 200: { description: "Ready", content: json(Health) }, 503: refusal("Not ready: why") },
  }),
  ha: createRoute({
    method: "get",
    path: "/ha",
    summary: "Role, addresses, offsets, slaves",
    responses: { 200: status },
  }),
  role: createRoute({
    method: "put",
    path: "/role",
    summary: "Switches the role at run time without losing a byte",
    request: body(schemas.RoleBody),
    responses: changed,
  }),
  masterAddress: createRoute({
    method: "put",
    path: "/ha/master-address",
    summary: "Follows another master; null stops following",
    request: body(schemas.MasterAddressBody),
    responses: changed,
  }),
  fenced: createRoute({
    method: "put",
    path: "/fenced",
    summary: "Holds off every put until told otherwise, a role switch, or a restart; false also ends a read-only start",
    request: body(schemas.FencedBody),
    responses: changed,
  }),
  getConfig: createRoute({
    method: "get",
    path: "/config",
    summary: "The effective configuration",
    responses: { 200: { description: "Keys and values", content: json(schemas.ConfigAnswer) } },
  }),
  patchConfig: createRoute({
    method: "patch",
    path: "/config",
    summary: "Changes keys that may change at run time; not saved",
    request: body(schemas.ConfigBody),
    responses: {
      200: { description: "The configuration now", content: json(schemas.ConfigAnswer) },
      400: refusal("Not valid"),
    },
  }),
};

/** Adds the routes. */
export function addNodeRoutes(app: OpenAPIHono, port: AdminPort): void {
  const statusNow = () => mutable(port.status());
  app.openapi(ROUTES.healthz, (c) => c.json({ status: "alive" }, 200));
  app.openapi(ROUTES.readyz, (c) => {
    const reason = port.notReadyReason();
    return reason === null ? c.json({ status: "ready" }, 200) : c.json({ error: reason }, 503);
  });
  app.openapi(ROUTES.ha, (c) => c.json(statusNow(), 200));
  app.openapi(ROUTES.role, async (c) => {
    const outcome = await switchRole(port, c.req.valid("json"));
    return outcome.type === "done" ? c.json(statusNow(), 200) : c.json({ error: outcome.reason }, 409);
  });
  app.openapi(ROUTES.masterAddress, async (c) => {
    const outcome = await port.updateMasterAddress(c.req.valid("json").address);
    return outcome.type === "done" ? c.json(statusNow(), 200) : c.json({ error: outcome.reason }, 409);
  });
  app.openapi(ROUTES.fenced, async (c) => {
    const outcome = await port.setFenced(c.req.valid("json").fenced);
    return outcome.type === "done" ? c.json(statusNow(), 200) : c.json({ error: outcome.reason }, 409);
  });
  app.openapi(ROUTES.getConfig, (c) => c.json(configView(port), 200));
  app.openapi(ROUTES.patchConfig, (c) => {
    try {
      port.updateConfig(parseConfigPatch(port.config(), c.req.valid("json")));
    } catch (error) {
      if (error instanceof ConfigError) return c.json({ error: error.message }, 400);
      throw error;
    }
    return c.json(configView(port), 200);
  });
}

function switchRole(port: AdminPort, request: z.infer<typeof schemas.RoleBody>): Promise<AdminOutcome> {
  const { role: name, ...rest } = request;
  const role = schemas.ROLE_NAMES[name];
  const given = Object.entries(rest).filter(([, value]) => value !== undefined);
  return port.switchRole({ role, ...Object.fromEntries(given) } as RoleRequest);
}

function configView(port: AdminPort): z.infer<typeof schemas.ConfigAnswer> {
  return { config: { ...port.config() }, live: CONFIG_KEYS.filter((key) => settingOf(key).live === true) };
}

/** The port's figures under the schema's type: here the compiler checks that the two agree. */
function mutable(figures: NodeStatus): z.infer<typeof schemas.StatusAnswer> {
  return { ...figures, namesrvs: [...figures.namesrvs], slaves: [...figures.slaves] };
}
