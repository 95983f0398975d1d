// Which remoting address a slave asks for a master's HA address, and where none goes with it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LearnedMaster } from "../../src/broker/learned_master.ts";
import { MemoryLogger } from "../support/ha_options.ts";

describe("LearnedMaster", () => {
  it("takes the port below unless it was told another", () => {
    const learned = new LearnedMaster(new MemoryLogger());
    assert.equal(learned.remotingOf("a:10912"), "a:10911");
    assert.equal(learned.remotingOf("[::1]:10912"), "[::1]:10911");
    learned.set("a:10912", "b:7");
    assert.equal(learned.remotingOf("a:10912"), "b:7");
    assert.equal(learned.remotingOf("c:10912"), "c:10911");
  });

  it("asks nobody at port 0, and says so of the address that was given, once", () => {
    const logger = new MemoryLogger();
    const learned = new LearnedMaster(logger);
    for (let i = 0; i < 2; i++) assert.equal(learned.remotingOf("nohost:1"), null);
    assert.equal(logger.lines.length, 1);
    assert.match(logger.lines[0]!.message, /^Master nohost:1 has no port below its HA port/);
    learned.set("nohost:1", "nohost:7");
    assert.equal(learned.remotingOf("nohost:1"), "nohost:7");
  });
});
