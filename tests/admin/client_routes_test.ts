// The routes about topics, groups, producers and the NameServer, over a fake node.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { createAdminApp } from "../../src/admin/admin_app.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { FakePort } from "./fake_port.ts";

function setup() {
  const port = new FakePort();
  const options = { token: null, clock: new ManualClock(), ending: new AbortController().signal };
  const app = createAdminApp(port, options);
  const call = async (method: string, path: string, body?: unknown) => {
    const init = body === undefined
      ? { method }
      : { method, headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    const response = await app.request(path, init);
    return { status: response.status, json: await response.json() };
  };
  return { clients: port.clients, call };
}

describe("client routes", () => {
  it("list topics, groups, producers and what the NameServer knows", async () => {
    const { clients, call } = setup();
    assert.deepEqual((await call("GET", "/topics")).json, { topics: [clients.topic] });
    const { members: _m, subscriptions: _s, progress: _p, ...view } = clients.detail;
    assert.deepEqual((await call("GET", "/groups")).json, { groups: [view] });
    assert.deepEqual((await call("GET", "/groups/G")).json, clients.detail);
    assert.equal((await call("GET", "/groups/none")).status, 404);
    assert.equal((await call("GET", "/producers")).json.producers[0].members[0].clientId, "c");
    assert.deepEqual((await call("GET", "/namesrv")).json.brokers[0].addresses, { "0": "x:1" });
  });

  it("change topics, groups and offsets, or say why not", async () => {
    const { clients, call } = setup();
    assert.equal((await call("PUT", "/topics/T", { readQueueNums: 8 })).status, 200);
    assert.equal((await call("DELETE", "/topics/T")).status, 200);
    assert.equal((await call("DELETE", "/topics/none")).status, 404);
    assert.equal((await call("POST", "/groups/G/reset", { topic: "T", timestamp: -1 })).status, 200);
    assert.equal((await call("DELETE", "/groups/G")).status, 200);
    assert.deepEqual(clients.asked, [
      { topic: "T", readQueueNums: 8 },
      "T",
      "none",
      { group: "G", topic: "T", timestamp: -1 },
      "G",
    ]);
    clients.outcome = { type: "refused", reason: "Role is SLAVE" };
    for (const [method, path, body] of [["PUT", "/topics/T", {}], ["DELETE", "/topics/T"], ["DELETE", "/groups/G"]]) {
      const answer = await call(method as string, path as string, body);
      assert.equal(answer.status, 409, String(path));
      assert.deepEqual(answer.json, { error: "Role is SLAVE" });
    }
  });

  it("refuse what is no request", async () => {
    const { clients, call } = setup();
    for (
      const [method, path, body] of [
        ["PUT", "/topics/T", { readQueueNums: 0 }],
        ["PUT", "/topics/T", { perm: 8 }],
        ["PUT", "/topics/T", { queues: 8 }],
        ["PUT", "/topics/a%20b", {}],
        ["POST", "/groups/G/reset", { topic: "T" }],
        ["POST", "/groups/G/reset", { topic: "T", timestamp: -2 }],
        ["DELETE", "/groups/a%20b", undefined],
      ] as const
    ) {
      const answer = await call(method, path, body);
      assert.equal(answer.status, 400, `${method} ${path} ${JSON.stringify(body)}`);
    }
    assert.deepEqual(clients.asked, []);
  });
});
