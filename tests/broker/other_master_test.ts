// A master beside which this one must not take puts, and who is none. Two brokers of one id: said once for each address,
// with what to do, and only while the other one lives.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BrokerPeer, PeerStart } from "../../src/broker/master_info_client.ts";
import { MemberFile } from "../../src/broker/member_file.ts";
import { objectionToMaster, SharedIdWarning } from "../../src/broker/other_master.ts";
import { SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { utf8 } from "../../src/base/bytes.ts";
import { MemoryLogger } from "../support/ha_options.ts";

const START: PeerStart = { bootId: "5", puts: "taken", promotedAt: 0 };
const MASTER: BrokerPeer = {
  brokerClusterName: "c",
  brokerName: "b",
  isMaster: true,
  maxOffset: 500,
  start: START,
};

type Answer = Omit<Partial<BrokerPeer>, "start"> & { start?: Partial<PeerStart> | null };

/**
 * The objection of a master whose log ends at 500, and what was said, where these brokers answer; of several answers of one
 * each is given once, the last again and again.
 */
async function object(parts: {
  group?: [number, string][];
  before?: string[];
  peers?: Record<string, Answer | "silent" | (Answer | "silent" | "gone")[]>;
  promotedAt?: number;
}) {
  const logger = new MemoryLogger();
  const strangers: string[] = [];
  const asked: string[] = [];
  const objection = await objectionToMaster({
    memberGroup: () => Promise.resolve(parts.group ?? []),
    membersBefore: parts.before ?? [],
    ask: (address) => {
      const count = asked.filter((one) => one === address).length;
      asked.push(address);
      const listed = parts.peers?.[address] ?? "gone";
      const answer = Array.isArray(listed) ? listed[Math.min(count, listed.length - 1)]! : listed;
      if (typeof answer === "string") return Promise.resolve(answer);
      const start = answer.start === null ? null : { ...START, ...answer.start };
      return Promise.resolve({ ...MASTER, ...answer, start });
    },
    own: {
      brokerClusterName: "c",
      brokerName: "b",
      bootId: "4",
      maxOffset: 500,
      promotedAt: parts.promotedAt ?? 0,
    },
    onRegisteredMaster: () => {},
    onStranger: (address) => strangers.push(address),
    clock: {
      setTimer: (_, callback) => {
        queueMicrotask(callback);
        return { cancel: () => {} };
      },
    },
    logger,
  });
  return { objection, strangers, asked, lines: logger.lines.map(({ level, message }) => `${level} ${message}`) };
}

describe("objectionToMaster", () => {
  const group: [number, string][] = [[0, "m:1"]];

  it("objects beside another master that takes puts and holds data, shorter or longer, registered or not", async () => {
    for (const maxOffset of [1, 500, 900]) {
      for (const where of [{ group }, { before: ["m:1"] }]) {
        for (const start of [{}, null]) {
          const { objection, lines, asked } = await object({ ...where, peers: { "m:1": { maxOffset, start } } });
          assert.match(objection!, new RegExp(`^m:1 is a master .* ends at ${maxOffset}, this one's at 500; `));
          assert.equal(/came back too early/.test(objection!), maxOffset === 1, "who gives way");
          assert.deepEqual([lines, asked], [[], ["m:1"]]);
        }
      }
    }
    const promoted = await object({ group, promotedAt: 9, peers: { "m:1": { maxOffset: 900 } } });
    assert.match(promoted.objection!, /came back too early: make it this node's slave, with --resync/);
  });

  it("goes by what a broker says itself, not by the id that a NameServer still has", async () => {
    const slaves: [number, string][] = [[1, "s:1"]];
    assert.equal((await object({ group: slaves, peers: { "s:1": { isMaster: false, start: null } } })).objection, null);
    assert.notEqual((await object({ group: slaves, peers: { "s:1": {} } })).objection, null, "promoted just now");
  });

  it("takes puts beside one that holds them off: of two that fence each other nobody would", async () => {
    const { objection, lines } = await object({ before: ["m:1"], peers: { "m:1": { start: { puts: "heldOff" } } } });
    assert.equal(objection, null);
    assert.match(lines[0]!, /^info Another master .* holds off its puts/);
  });

  it("of two that start together the one promoted last comes first, then the longer log, then either", async () => {
    const undecided = (answer: Answer, then: Answer | "gone" | "silent"): (Answer | "gone" | "silent")[] => [
      { ...answer, start: { ...answer.start, puts: "undecided" } },
      { ...answer, start: { ...answer.start, puts: "undecided" } },
      then,
    ];
    const held: Answer = { start: { puts: "heldOff" } };
    // Later ones give way at once, without waiting for the other one's word.
    for (const first of [{ start: { promotedAt: 1 }, maxOffset: 1 }, { maxOffset: 501 }, {}]) {
      const { objection, asked } = await object({ group, peers: { "m:1": undecided(first, held) } });
      assert.notEqual(objection, null, JSON.stringify(first));
      assert.equal(asked.length, 1);
    }
    // The first one waits for it.
    for (const last of [{ start: { bootId: "3" } }, { maxOffset: 499 }]) {
      assert.equal((await object({ group, peers: { "m:1": undecided(last, held) } })).objection, null);
      assert.equal((await object({ group, peers: { "m:1": undecided(last, "gone") } })).objection, null);
      assert.notEqual(
        (await object({ group, peers: { "m:1": undecided(last, {}) } })).objection,
        null,
        "asked too early",
      );
    }
    const promoted = { group, promotedAt: 2 };
    const longer: Answer = { start: { promotedAt: 1 }, maxOffset: 900 };
    assert.equal((await object({ ...promoted, peers: { "m:1": undecided(longer, held) } })).objection, null);
    const busy = [...undecided({}, "silent").slice(0, 1), "silent" as const, held];
    const { objection } = await object({ ...promoted, peers: { "m:1": busy } });
    assert.equal(objection, null, "one that was alive a moment ago is asked again");
    const lost = await object({ ...promoted, peers: { "m:1": [...busy.slice(0, 1), "silent"] } });
    assert.notEqual(lost.objection, null, "and may have begun to take puts");
    const stuck = await object({ ...promoted, peers: { "m:1": { start: { puts: "undecided" } } } });
    assert.notEqual(stuck.objection, null, "one that never decides may be about to take puts");
  });

  it("does not wait for one that gives way when another one takes puts already", async () => {
    const peers = { "a:1": { maxOffset: 1, start: { puts: "undecided" as const } }, "m:1": {} };
    const { objection, asked } = await object({ before: ["a:1", "m:1"], peers });
    assert.match(objection!, /^m:1 is a master/);
    assert.deepEqual(asked, ["a:1", "m:1"]);
  });

  it("does not take itself for another one, nor a broker of another name or cluster, which it forgets", async () => {
    const before = ["old:1"];
    const own = await object({ before, peers: { "old:1": { start: { bootId: "4" } } } });
    assert.deepEqual([own.objection, own.lines, own.strangers], [null, [], []]);
    for (const other of [{ brokerName: "x" }, { brokerClusterName: "x" }]) {
      const stranger = await object({ before, peers: { "old:1": other } });
      assert.deepEqual([stranger.objection, stranger.lines, stranger.strangers], [null, [], before]);
    }
  });

  it("only warns of one that is empty, of one that is silent, and of one that is registered and gone", async () => {
    const empty = await object({ group, peers: { "m:1": { maxOffset: 0 } } });
    assert.equal(empty.objection, null);
    assert.match(empty.lines[0]!, /^warn Another master of this name is alive, with nothing in its log/);
    for (const parts of [{ group }, { before: ["m:1"], peers: { "m:1": "silent" as const } }]) {
      const { objection, lines } = await object(parts);
      assert.equal(objection, null);
      assert.match(lines[0]!, /^warn A broker of this name, .* does not answer/);
    }
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
    file.remove("10.0.0.3:10911");
    assert.deepEqual(open().addresses, ["10.0.0.2:10911"]);
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
