import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { deferred } from "../../src/base/async.ts";
import { IoError } from "../../src/base/errors.ts";
import { HandlePool } from "../../src/store/handle_pool.ts";
import { SimulatedWorld } from "../../src/runtime/simulated/mod.ts";

describe("handle pool", () => {
  const paths = ["/a", "/b", "/c"];
  let host: ReturnType<SimulatedWorld["host"]>;
  let pool: HandlePool;

  beforeEach(() => {
    host = new SimulatedWorld(1).host("only");
    const { fs } = host.runtime;
    for (const path of paths) fs.open(path, "create").close();
    pool = new HandlePool(fs, 2);
  });
  afterEach(() => host.kill());

  it("keeps no more files open than it may", () => {
    for (const path of paths) pool.get(path);
    assert.equal(host.openFileCount, 2);
  });

  it("keeps a file open until whoever uses it is done", async () => {
    const done = deferred<void>();
    const used = pool.use("/a", () => done.promise);
    pool.close("/a");
    assert.equal(host.openFileCount, 1);
    done.resolve();
    await used;
    assert.equal(host.openFileCount, 0);
  });

  it("opens nothing any more once all is closed", async () => {
    pool.get("/a");
    const done = deferred<void>();
    const used = pool.use("/b", () => done.promise);
    pool.closeAll();
    const isClosed = (error: unknown) => error instanceof IoError && error.kind === "closed";
    for (const path of paths) assert.throws(() => pool.get(path), isClosed);
    await assert.rejects(pool.use("/b", () => Promise.resolve()), isClosed);
    done.resolve();
    await used;
    assert.equal(host.openFileCount, 0);
  });
});
