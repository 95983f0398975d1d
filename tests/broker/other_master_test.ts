// Two brokers of one id: said once for each address, with what to do, and only while the other one lives.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SharedIdWarning } from "../../src/broker/other_master.ts";
import { MemoryLogger } from "../support/ha_options.ts";

function warning() {
  const logger = new MemoryLogger();
  const alive = new Set<string>();
  const asked: string[] = [];
  const isAlive = (address: string) => {
    asked.push(address);
    return Promise.resolve(alive.has(address));
  };
  return { logger, alive, asked, shared: new SharedIdWarning({ isAlive, logger }) };
}

const SLAVE = { brokerName: "broker-a", brokerId: 1 };

describe("SharedIdWarning", () => {
  it("names the other one and the flag, once for each address", async () => {
    const { logger, alive, asked, shared } = warning();
    alive.add("10.0.0.2:10911").add("10.0.0.3:10911");
    // Two NameServers say so at once.
    await Promise.all([shared.held("10.0.0.2:10911", SLAVE), shared.held("10.0.0.2:10911", SLAVE)]);
    assert.deepEqual(logger.lines.map(({ level, fields }) => [level, fields]), [["warn", {
      address: "10.0.0.2:10911",
    }]]);
    assert.match(logger.lines[0]!.message, /brokerId 1 of "broker-a".* give one of them another --broker-id$/);
    await shared.held("10.0.0.3:10911", SLAVE);
    assert.equal(logger.lines.length, 2);
    assert.equal(asked.length, 2);
  });

  it("says nothing of a dead one, until it is back", async () => {
    const { logger, alive, shared } = warning();
    await shared.held("10.0.0.2:10911", SLAVE);
    assert.deepEqual(logger.lines, []);
    alive.add("10.0.0.2:10911");
    await shared.held("10.0.0.2:10911", SLAVE);
    assert.equal(logger.lines.length, 1);
  });

  it("tells masters to stop one, and says nothing of whom was spoken already", async () => {
    const { logger, alive, shared } = warning();
    alive.add("10.0.0.2:10911").add("10.0.0.3:10911");
    shared.leaveOut("10.0.0.2:10911");
    await shared.held("10.0.0.2:10911", { brokerName: "broker-a", brokerId: 0 });
    assert.equal(logger.lines.length, 0);
    await shared.held("10.0.0.3:10911", { brokerName: "broker-a", brokerId: 0 });
    assert.match(logger.lines[0]!.message, /brokerId 0 of .* stop one of the two$/);
  });
});
