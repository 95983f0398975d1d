// Directories whose changes are not durable yet: none is forgotten before a sync that covers its last change is done.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deferred } from "../../src/base/async.ts";
import { UnsyncedDirectories } from "../../src/base/durable_directory.ts";
import { IoError } from "../../src/base/errors.ts";

/** A file system whose asynchronous syncs end when they are told to; `blocking` holds what was synced at once. */
function makeFs() {
  const blocking: string[] = [];
  const pending: { path: string; end: (error?: unknown) => void }[] = [];
  return {
    blocking,
    pending,
    syncDirectory: (path: string) => void blocking.push(path),
    syncDirectoryAsync(path: string): Promise<void> {
      const { promise, resolve, reject } = deferred<void>();
      pending.push({ path, end: (error) => error === undefined ? resolve() : reject(error) });
      return promise;
    },
  };
}

describe("Unsynced directories", () => {
  it("keeps one while its sync is under way: who needs it durable now syncs it again", async () => {
    const fs = makeFs();
    const unsynced = new UnsyncedDirectories(fs);
    unsynced.add("/a").add("/b");
    const sync = unsynced.sync("/a");
    unsynced.syncAllBlocking();
    assert.deepEqual(fs.blocking, ["/a", "/b"]);
    fs.pending[0]!.end();
    await sync;
    assert.deepEqual(unsynced.paths(), []);
  });

  it("keeps one that changed after its sync began, also when it was forgotten between", async () => {
    const fs = makeFs();
    const unsynced = new UnsyncedDirectories(fs);
    unsynced.add("/a");
    const first = unsynced.sync("/a");
    unsynced.delete("/a");
    unsynced.add("/a");
    fs.pending[0]!.end();
    await first;
    assert.deepEqual(unsynced.paths(), ["/a"]);
    const second = unsynced.sync("/a");
    fs.pending[1]!.end();
    await second;
    assert.deepEqual(unsynced.paths(), []);
  });

  it("keeps one whose sync failed", async () => {
    const fs = makeFs();
    const unsynced = new UnsyncedDirectories(fs);
    const sync = unsynced.add("/a").sync("/a");
    fs.pending[0]!.end(new IoError("other", "Sync failed"));
    await assert.rejects(sync, IoError);
    assert.deepEqual(unsynced.paths(), ["/a"]);
  });

  it("has nothing to do for one that is not noted", async () => {
    const fs = makeFs();
    const unsynced = new UnsyncedDirectories(fs);
    await unsynced.sync("/other");
    unsynced.add("/a").delete("/a");
    unsynced.syncAllBlocking();
    assert.deepEqual([fs.blocking, fs.pending.length, unsynced.paths()], [[], 0, []]);
  });
});
