// A master beside which this one must not take puts, and who is none. Two brokers of one id: said once for each address,
// with what to do, and only while the other one lives.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BrokerPeer } from "../../src/broker/master_info_client.ts";
import { MemberFile } from "../../src/broker/member_file.ts";
import { objectionToMaster, SharedIdWarning } from "../../src/broker/other_master.ts";
import { SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { MemoryLogger } from "../support/ha_options.ts";

const MASTER: BrokerPeer = { brokerName: "b", isMaster: true, maxOffset: 500, bootId: "other" };

/** The objection of a master whose log ends at 500, and what was said, where these brokers answer. */
async function object(parts: {
  group?: [number, string][];
  before?: string[];
  peers?: Record<string, Partial<BrokerPeer>>;
}) {
  const logger = new MemoryLogger();
  const objection = await objectionToMaster({
    memberGroup: () => Promise.resolve(new Map(parts.group ?? [])),
    membersBefore: parts.before ?? [],
    ask: (address) => {
      const peer = parts.peers?.[address];
      return Promise.resolve(peer === undefined ? null : { ...MASTER, ...peer });
    },
    brokerName: "b",
    ownBootId: "own",
    ownMaxOffset: 500,
    onRegisteredMaster: () => {},
    logger,
  });
  return { objection, lines: logger.lines.map(({ level, message }) => `${level} ${message}`) };
}

describe("objectionToMaster", () => {
  it("objects beside another master that holds data, shorter or longer, registered or known from before", async () => {
    for (const maxOffset of [1, 500, 900]) {
      for (const where of [{ group: [[0, "m:1"]] as [number, string][] }, { before: ["m:1"] }]) {
        const { objection, lines } = await object({ ...where, peers: { "m:1": { maxOffset } } });
        assert.match(
          objection!,
          new RegExp(`^m:1 is the master .* ends at ${maxOffset}, this one's at 500; make this`),
        );
        assert.deepEqual(lines, []);
      }
    }
  });

  it("goes by what a slave says itself, not by the id that a NameServer still has", async () => {
    const group: [number, string][] = [[1, "s:1"]];
    assert.equal((await object({ group, peers: { "s:1": { isMaster: false } } })).objection, null);
    assert.notEqual((await object({ group, peers: { "s:1": {} } })).objection, null, "promoted just now");
  });

  it("does not take itself for another one, nor a broker of another name where its slave was once", async () => {
    const before = ["old:1"];
    assert.deepEqual(await object({ before, peers: { "old:1": { bootId: "own" } } }), { objection: null, lines: [] });
    assert.deepEqual(await object({ before, peers: { "old:1": { brokerName: "c" } } }), { objection: null, lines: [] });
  });

  it("only warns of one that is empty, and of one that is registered and dead", async () => {
    const group: [number, string][] = [[0, "m:1"]];
    const empty = await object({ group, peers: { "m:1": { maxOffset: 0 } } });
    assert.equal(empty.objection, null);
    assert.match(empty.lines[0]!, /^warn Another master of this name is alive, with nothing in its log/);
    const dead = await object({ group });
    assert.equal(dead.objection, null);
    assert.match(dead.lines[0]!, /^warn The NameServers know another master .* does not answer/);
    assert.deepEqual((await object({ before: ["m:1"] })).lines, [], "one known from before may be gone for good");
  });
});

describe("MemberFile", () => {
  const directory = "/store/config";

  it("keeps the addresses seen last over restarts, 16 of them", () => {
    const { fs } = new SimulatedWorld(1).host("h").runtime;
    const logger = new MemoryLogger();
    const open = () => new MemberFile({ fs, directory, logger });
    const file = open();
    assert.deepEqual(file.addresses, []);
    file.add(["10.0.0.2:10911"]);
    file.add(["10.0.0.3:10911", "10.0.0.2:10911"]);
    assert.deepEqual(open().addresses, ["10.0.0.3:10911", "10.0.0.2:10911"]);
    for (let i = 0; i < 20; i++) file.add([`10.0.1.${i}:10911`]);
    assert.equal(open().addresses.length, 16);
    assert.equal(open().addresses[0], "10.0.1.19:10911");
    assert.deepEqual(logger.lines, []);
  });

  it("goes on without a file that makes no sense, which is said, and replaces it", () => {
    const { fs } = new SimulatedWorld(1).host("h").runtime;
    const logger = new MemoryLogger();
    new MemberFile({ fs, directory, logger }).add(["10.0.0.2:10911"]);
    for (const text of ["", "[]", '{"addresses": 5}', "null"]) {
      fs.writeFile(`${directory}/twinlogMembers.json`, utf8.encode(text));
      const file = new MemberFile({ fs, directory, logger });
      assert.deepEqual(file.addresses, [], text);
    }
    assert.equal(logger.lines.length, 4);
    fs.writeFile(`${directory}/twinlogMembers.json`, utf8.encode('{"addresses": ["x", 7, "10.0.0.9:10911"]}'));
    assert.deepEqual(new MemberFile({ fs, directory, logger }).addresses, ["10.0.0.9:10911"]);
  });
});

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
