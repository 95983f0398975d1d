// The contract of serveHttp as tests, over the environment's own client.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import type { HttpHandler } from "../../src/runtime/runtime.ts";
import type { Conduct, ConformanceEnv } from "./env.ts";
import { pattern, rejectsWith } from "./support.ts";

/** Registers the tests of serveHttp under `name`. */
export function runHttpConformance(name: string, conduct: Conduct): void {
  const test = (what: string, body: (env: ConformanceEnv) => Promise<void>): void => {
    it(what, () => conduct(body));
  };
  const withServer = (
    what: string,
    handler: HttpHandler,
    body: (base: string, env: ConformanceEnv) => Promise<void>,
  ): void => {
    test(what, async (env) => {
      const server = await env.runtime.serveHttp({ hostname: env.hostname, port: 0 }, handler);
      try {
        await body(`http://${env.hostname}:${server.address.port}`, env);
      } finally {
        await server.close();
      }
    });
  };

  describe(`${name}: http`, () => {
    withServer("answers with status, headers and body", async (request) => {
      const url = new URL(request.url);
      return Response.json(
        { method: request.method, path: url.pathname, query: url.searchParams.get("q"), x: request.headers.get("x-a") },
        { status: 201, headers: { "x-b": "2" } },
      );
    }, async (base, env) => {
      const response = await env.fetch(`${base}/some/path?q=1%202`, { method: "PUT", headers: { "X-A": "1" } });
      assert.equal(response.status, 201);
      assert.equal(response.headers.get("x-b"), "2");
      assert.deepEqual(await response.json(), { method: "PUT", path: "/some/path", query: "1 2", x: "1" });
    });

    withServer("takes a request's body", async (request) => {
      return new Response(await request.arrayBuffer());
    }, async (base, env) => {
      const response = await env.fetch(base, { method: "POST", body: pattern(300_000) });
      assert.deepEqual(new Uint8Array(await response.arrayBuffer()), pattern(300_000));
    });

    withServer("answers an empty body and HEAD", async (request) => {
      return request.method === "HEAD" ? new Response("not sent") : new Response(null, { status: 204 });
    }, async (base, env) => {
      assert.equal((await env.fetch(base, { method: "DELETE" })).status, 204);
      const head = await env.fetch(base, { method: "HEAD" });
      assert.equal(head.status, 200);
      assert.equal(await head.text(), "");
    });

    withServer("answers 500 when the handler throws", () => {
      throw new Error("on purpose");
    }, async (base, env) => {
      const response = await env.fetch(base);
      assert.equal(response.status, 500);
      assert.ok(!(await response.text()).includes("on purpose"));
    });

    withServer("refuses a body over 16 MiB", async (request) => {
      return new Response(String((await request.arrayBuffer()).byteLength));
    }, async (base, env) => {
      const response = await env.fetch(base, { method: "POST", body: new Uint8Array(16 * 1024 * 1024 + 1) });
      assert.equal(response.status, 413);
      await response.body?.cancel();
    });

    withServer("streams a body piece by piece", () => {
      let sent = 0;
      return new Response(
        new ReadableStream<Uint8Array>({
          pull(controller) {
            controller.enqueue(pattern(100_000, sent));
            sent += 100_000;
            if (sent === 1_000_000) controller.close();
          },
        }),
      );
    }, async (base, env) => {
      const response = await env.fetch(base);
      assert.deepEqual(new Uint8Array(await response.arrayBuffer()), pattern(1_000_000));
    });

    test("sends events as they come, and stops when the client goes away", async (env) => {
      const cancelled = Promise.withResolvers<void>();
      let send: (text: string) => void = () => {};
      const server = await env.runtime.serveHttp({ hostname: env.hostname, port: 0 }, () => {
        return eventStream((sender) => send = sender, cancelled.resolve);
      });
      const response = await env.fetch(`http://${env.hostname}:${server.address.port}/events`);
      assert.equal(response.headers.get("content-type"), "text/event-stream");
      const reader = response.body!.getReader();
      for (const event of ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"]) {
        send(event);
        assert.equal(await nextEvent(reader), event);
      }
      await reader.cancel();
      await cancelled.promise;
      await server.close();
    });

    test("close ends open event streams and frees the port", async (env) => {
      const cancelled = Promise.withResolvers<void>();
      let send: (text: string) => void = () => {};
      const server = await env.runtime.serveHttp({ hostname: env.hostname, port: 0 }, () => {
        return eventStream((sender) => send = sender, cancelled.resolve);
      });
      const { port } = server.address;
      const response = await env.fetch(`http://${env.hostname}:${port}/events`);
      send("data: 1\n\n");
      const reader = response.body!.getReader();
      assert.equal(await nextEvent(reader), "data: 1\n\n");
      const ending = reader.read().then(({ done }) => done, () => true);
      await server.close();
      await server.close();
      assert.equal(await ending, true);
      await cancelled.promise;
      const again = await env.runtime.serveHttp({ hostname: env.hostname, port }, () => new Response("again"));
      assert.equal(await (await env.fetch(`http://${env.hostname}:${port}/`)).text(), "again");
      await again.close();
    });

    test("close does not wait for a handler that never answers", async (env) => {
      const asked = Promise.withResolvers<void>();
      const server = await env.runtime.serveHttp({ hostname: env.hostname, port: 0 }, () => {
        asked.resolve();
        return new Promise<Response>(() => {});
      });
      const failing = env.fetch(`http://${env.hostname}:${server.address.port}/`).then(() => false, () => true);
      await asked.promise;
      await server.close();
      assert.equal(await failing, true);
    });

    test("says when the address is in use", async (env) => {
      const options = { hostname: env.hostname, port: 0 };
      const server = await env.runtime.serveHttp(options, () => new Response("first"));
      const taken = { ...options, port: server.address.port };
      await rejectsWith(env.runtime.serveHttp(taken, () => new Response("second")), "inUse");
      await rejectsWith(env.runtime.net.listen(taken), "inUse");
      await server.close();
    });

    withServer("answers many clients at once", async (request) => {
      return new Response(new URL(request.url).pathname);
    }, async (base, env) => {
      const texts = await Promise.all(
        Array.from({ length: 100 }, async (_, i) => await (await env.fetch(`${base}/${i}`)).text()),
      );
      assert.deepEqual(texts, Array.from({ length: 100 }, (_, i) => `/${i}`));
    });
  });
}

// An adapter may send a comment to get the head of the response out; readers of event streams skip it.
async function nextEvent(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<string> {
  while (true) {
    const { done, value } = await reader.read();
    assert.equal(done, false);
    const text = utf8.decode(value!).replace(/^:\n\n/, "");
    if (text !== "") return text;
  }
}

function eventStream(onSender: (send: (text: string) => void) => void, onCancel: () => void): Response {
  const stream = new ReadableStream<Uint8Array>({
    start: (controller) => onSender((text) => controller.enqueue(utf8.encode(text))),
    cancel: onCancel,
  });
  return new Response(stream, { headers: { "content-type": "text/event-stream" } });
}
