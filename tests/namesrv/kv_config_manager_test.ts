// KV configuration: its file beside Apache's, what is left of it after any mishap, and its bound.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { DurableFile } from "../../src/namesrv/durable_file.ts";
import { KVConfigManager, type KVConfigManagerOptions } from "../../src/namesrv/kv_config_manager.ts";
import { SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { recordingLogger, runtime } from "../remoting/support.ts";
import { failingFileSystem } from "../support/failing_fs.ts";

let directory: string;
let kvConfigPath: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "twinlog-kv-"));
  kvConfigPath = join(directory, "namesrv", "kvConfig.json");
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function open(parts: Partial<KVConfigManagerOptions> = {}): KVConfigManager {
  const manager = new KVConfigManager({ fs: runtime.fs, logger: SILENT_LOGGER, kvConfigPath, ...parts });
  manager.load();
  return manager;
}

function put(text: string, path = kvConfigPath): void {
  mkdirSync(join(directory, "namesrv"), { recursive: true });
  writeFileSync(path, text);
}

const get = (path = kvConfigPath) => readFileSync(path, "utf8");

describe("KVConfigManager", () => {
  it("keeps values by namespace and key, and a namespace whose keys are gone", async () => {
    const kv = open();
    assert.equal(kv.getKVConfig("N", "k"), null);
    assert.equal(kv.getKVListByNamespace("N"), null);
    assert.equal(kv.putKVConfig("N", "k", "v"), true);
    assert.equal(kv.putKVConfig("N", "__proto__", "p"), true);
    assert.equal(kv.getKVConfig("N", "k"), "v");
    assert.equal(kv.getKVConfig("N", "toString"), null);
    assert.deepEqual([...kv.getKVListByNamespace("N")!], [["k", "v"], ["__proto__", "p"]]);
    assert.equal(kv.size, 2);
    assert.equal(kv.deleteKVConfig("N", "k"), true);
    assert.equal(kv.deleteKVConfig("N", "k"), false);
    assert.equal(kv.deleteKVConfig("Other", "k"), false);
    kv.deleteKVConfig("N", "__proto__");
    assert.equal(kv.getKVListByNamespace("N")!.size, 0);
    await kv.persist();
    assert.equal(open().getKVListByNamespace("N")!.size, 0);
  });

  it("writes Apache's format and reads what Apache wrote", async () => {
    const apaches = '{"configTable":{"ORDER_TOPIC_CONFIG":{"T":"broker-a:4;broker-b:4","é":"\\u0001\\"x\\""}}}';
    put(apaches);
    const kv = open();
    assert.equal(kv.getKVConfig("ORDER_TOPIC_CONFIG", "T"), "broker-a:4;broker-b:4");
    assert.equal(kv.getKVConfig("ORDER_TOPIC_CONFIG", "é"), '\u0001"x"');
    kv.putKVConfig("__proto__", "__proto__", "x");
    await kv.persist();
    assert.deepEqual(
      JSON.parse(get()),
      JSON.parse(apaches.replace(/}}}$/, '},"__proto__":{"__proto__":"x"}}}')),
    );
    assert.equal(get(`${kvConfigPath}.bak`), apaches);
    assert.equal(open().getKVConfig("__proto__", "__proto__"), "x");
  });

  it("takes the backup where the file is unusable, and leaves it good", async () => {
    for (const broken of ["", "{", "[]", '{"configTable":7}', '{"configTable":{"N":"x"}}']) {
      put(broken);
      put('{"configTable":{"N":{"k":"old","gone":null}}}', `${kvConfigPath}.bak`);
      const { logger, lines } = recordingLogger();
      const kv = open({ logger });
      assert.equal(kv.getKVConfig("N", "k"), "old");
      assert.equal(kv.size, 1);
      assert.equal(lines.length, 2, lines.join("\n"));
      assert.match(lines[1]!, /Read the previous KV configuration/);
      kv.putKVConfig("N", "k", "new");
      await kv.persist();
      assert.match(get(`${kvConfigPath}.bak`), /old/);
      assert.match(get(), /new/);
    }
  });

  it("starts empty where nothing is usable, and says so; without a file it says nothing", () => {
    const { logger, lines } = recordingLogger();
    assert.equal(open({ logger }).size, 0);
    assert.deepEqual(lines, []);
    put("{");
    assert.equal(open({ logger }).size, 0);
    assert.match(lines.join(), /Can't read the KV configuration/);
  });

  it("holds no more than its bound; room comes back", () => {
    const kv = open({ charactersMax: 20 });
    assert.equal(kv.putKVConfig("N", "k", "x".repeat(18)), true);
    assert.equal(kv.putKVConfig("N", "k", "x".repeat(19)), false);
    assert.equal(kv.putKVConfig("N", "l", ""), false);
    assert.equal(kv.putKVConfig("M", "", ""), false);
    assert.equal(kv.putKVConfig("N", "k", "x".repeat(10)), true);
    assert.equal(kv.putKVConfig("N", "l", "x".repeat(7)), true);
    kv.deleteKVConfig("N", "k");
    assert.equal(kv.putKVConfig("N", "m", "x".repeat(10)), true);
    // What is in the file counts too.
    put('{"configTable":{"N":{"k":"123456789"}}}');
    assert.equal(open({ charactersMax: 12 }).putKVConfig("N", "l", "x"), false);
  });

  it("fails a write that the disk refuses, and the next one has it all", async () => {
    let broken = true;
    const fs = failingFileSystem(runtime.fs, { write: () => false, sync: () => broken });
    const kv = open({ fs });
    kv.putKVConfig("N", "k", "v");
    await assert.rejects(kv.persist(), { name: "IoError" });
    assert.equal(kv.getKVConfig("N", "k"), "v");
    broken = false;
    kv.putKVConfig("N", "l", "w");
    await kv.persist();
    assert.equal(open().size, 2);
  });

  it("prints an entry per line", () => {
    const { logger, lines } = recordingLogger();
    const kv = open({ logger });
    kv.putKVConfig("N", "k", "v");
    kv.printAll();
    assert.deepEqual(lines, [
      'info KV configuration {"entries":1}',
      'info KV configuration {"namespace":"N","key":"k","value":"v"}',
    ]);
  });
});

describe("DurableFile", () => {
  it("is whole after a loss of power at any moment, and new once the write has resolved", async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 40; seed++) {
      const world = new SimulatedWorld(seed);
      const host = world.host("n");
      const file = new DurableFile(host.runtime.fs, "/n/file");
      await world.drive(file.write(() => utf8.encode("old")));
      let resolved = false;
      void file.write(() => utf8.encode("new")).then(() => resolved = true, () => undefined);
      await world.settle();
      for (let left = seed % 4; left > 0; left--) await world.step();
      host.crash();
      const after = new DurableFile(host.restart().fs, "/n/file").load((bytes) => utf8.decode(bytes));
      assert.ok(after.value === "new" || after.value === "old" && !resolved, `seed ${seed}: ${after.value}`);
      assert.deepEqual(after.errors, []);
      seen.add(after.value);
    }
    assert.equal(seen.size, 2);
  });

  it("queues writes: each resolves with its content or a later one on the disk; equal content is not written", async () => {
    const path = join(directory, "plain");
    const file = new DurableFile(runtime.fs, path);
    let content = "";
    const all = ["a", "b", "c"].map((each) => {
      content = each;
      return file.write(() => utf8.encode(content));
    });
    await all[0];
    assert.equal(get(path), "c");
    writeFileSync(path, "somebody else's");
    await Promise.all(all);
    await file.idle();
    assert.equal(get(path), "somebody else's");
  });

  it("keeps what it adopted, or loaded, as the backup", async () => {
    const path = join(directory, "kept");
    writeFileSync(path, "first");
    const adopting = new DurableFile(runtime.fs, path);
    adopting.adopt(utf8.encode("first"));
    await adopting.write(() => utf8.encode("second"));
    assert.equal(get(`${path}.bak`), "first");
    const loading = new DurableFile(runtime.fs, path);
    assert.deepEqual(loading.load((bytes) => utf8.decode(bytes)), { value: "second", isBackup: false, errors: [] });
    await loading.write(() => utf8.encode("third"));
    assert.equal(get(`${path}.bak`), "second");
  });
});
