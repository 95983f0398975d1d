// The routes about topics, consumer groups, producers and the NameServer: lists, progress, and the changes an operator makes
// most. mqadmin does the rest.

import { createRoute, z } from "@hono/zod-openapi";
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { AdminOutcome, AdminPort } from "./admin_port.ts";
import * as shapes from "./client_schemas.ts";
import { ErrorAnswer, TopicParams } from "./schemas.ts";

const json = <S extends z.ZodType>(schema: S) => ({ "application/json": { schema } });
const refusal = (description: string) => ({ description, content: json(ErrorAnswer) });
const body = <S extends z.ZodType>(schema: S) => ({ required: true, content: json(schema) });
const done = { description: "Done", content: json(shapes.Done) };
const refusals = { 400: refusal("Not a valid request"), 409: refusal("Can't be done here: why") };

const ROUTES = {
  topics: createRoute({
    method: "get",
    path: "/topics",
    summary: "All topics",
    responses: { 200: { description: "Topics", content: json(z.object({ topics: z.array(shapes.Topic) })) } },
  }),
  updateTopic: createRoute({
    method: "put",
    path: "/topics/{topic}",
    summary: "Makes a topic or changes it",
    request: { params: TopicParams, body: body(shapes.TopicChange) },
    responses: { 200: done, ...refusals },
  }),
  deleteTopic: createRoute({
    method: "delete",
    path: "/topics/{topic}",
    summary: "Removes a topic, its queues and its consumers' offsets",
    request: { params: TopicParams },
    responses: { 200: done, 404: refusal("No such topic"), ...refusals },
  }),
  groups: createRoute({
    method: "get",
    path: "/groups",
    summary: "All consumer groups, with what they have still to consume",
    responses: { 200: { description: "Groups", content: json(z.object({ groups: z.array(shapes.Group) })) } },
  }),
  group: createRoute({
    method: "get",
    path: "/groups/{group}",
    summary: "A consumer group: members, subscriptions, progress in each queue",
    request: { params: shapes.GroupParams },
    responses: { 200: { description: "Group", content: json(shapes.GroupDetail) }, 404: refusal("No such group") },
  }),
  deleteGroup: createRoute({
    method: "delete",
    path: "/groups/{group}",
    summary: "Forgets a consumer group and its offsets",
    request: { params: shapes.GroupParams },
    responses: { 200: done, 404: refusal("No such group"), ...refusals },
  }),
  resetOffset: createRoute({
    method: "post",
    path: "/groups/{group}/reset",
    summary: "Sets a group's offsets in a topic to a time",
    request: { params: shapes.GroupParams, body: body(shapes.OffsetReset) },
    responses: { 200: done, ...refusals },
  }),
  producers: createRoute({
    method: "get",
    path: "/producers",
    summary: "Connected producers by group",
    responses: { 200: { description: "Producers", content: json(z.object({ producers: z.array(shapes.Producer) })) } },
  }),
  namesrv: createRoute({
    method: "get",
    path: "/namesrv",
    summary: "The brokers that the NameServer inside this node knows",
    responses: { 200: { description: "Brokers", content: json(shapes.Namesrv) }, 404: refusal("No NameServer here") },
  }),
};

/** Adds the routes. */
export function addClientRoutes(app: OpenAPIHono, port: AdminPort): void {
  const { clients } = port;
  app.openapi(ROUTES.topics, (c) => c.json({ topics: [...clients.topics()] }, 200));
  app.openapi(ROUTES.updateTopic, (c) => {
    const { topic } = c.req.valid("param");
    const outcome = clients.updateTopic({ topic, ...c.req.valid("json") });
    return outcome.type === "done" ? c.json(DONE, 200) : c.json({ error: outcome.reason }, 409);
  });
  app.openapi(ROUTES.deleteTopic, (c) => {
    const { topic } = c.req.valid("param");
    const outcome = clients.deleteTopic(topic);
    if (outcome === null) return c.json({ error: `Topic "${topic}" does not exist here` }, 404);
    return outcome.type === "done" ? c.json(DONE, 200) : c.json({ error: outcome.reason }, 409);
  });
  app.openapi(ROUTES.groups, (c) => c.json({ groups: clients.groups().map(groupAnswer) }, 200));
  app.openapi(ROUTES.group, (c) => {
    const { group } = c.req.valid("param");
    const detail = clients.group(group);
    if (detail === null) return c.json({ error: `Group "${group}" is not known here` }, 404);
    const { members, subscriptions, progress } = detail;
    const lists = { members: [...members], subscriptions: [...subscriptions], progress: [...progress] };
    return c.json({ ...groupAnswer(detail), ...lists }, 200);
  });
  app.openapi(ROUTES.deleteGroup, (c) => {
    const { group } = c.req.valid("param");
    const outcome = clients.deleteGroup(group);
    if (outcome === null) return c.json({ error: `Group "${group}" is not known here` }, 404);
    return outcome.type === "done" ? c.json(DONE, 200) : c.json({ error: outcome.reason }, 409);
  });
  app.openapi(ROUTES.resetOffset, (c) => {
    const { group } = c.req.valid("param");
    const outcome: AdminOutcome = clients.resetOffset({ group, ...c.req.valid("json") });
    return outcome.type === "done" ? c.json(DONE, 200) : c.json({ error: outcome.reason }, 409);
  });
  app.openapi(ROUTES.producers, (c) => {
    const producers = clients.producers().map(({ group, members }) => ({ group, members: [...members] }));
    return c.json({ producers }, 200);
  });
  app.openapi(ROUTES.namesrv, (c) => {
    const view = clients.namesrv();
    if (view === null) return c.json({ error: "This node runs no NameServer" }, 404);
    return c.json({ ...view, brokers: view.brokers.map((one) => ({ ...one, addresses: { ...one.addresses } })) }, 200);
  });
}

const DONE = { done: true } as const;

function groupAnswer<G extends { readonly topics: readonly string[] }>(
  group: G,
): Omit<G, "topics"> & { topics: string[] } {
  return { ...group, topics: [...group.topics] };
}
