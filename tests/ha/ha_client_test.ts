import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { ConfigError } from "../../src/base/errors.ts";
import { HAClient, type HAClientOptions, type HAVerdict } from "../../src/ha/ha_client.ts";
import type { MasterRange } from "../../src/ha/start_offset.ts";
import { MemoryReplicaLog } from "../support/memory_replica_log.ts";

const F = 4096;
const OPTIONS: HAClientOptions = {
  haSendHeartbeatInterval: 5000,
  haHousekeepingInterval: 20000,
  haAckAfterFlush: false,
  haStartOffset: null,
};

/** A client with its log and a clock in the test's hand. */
class Slave {
  readonly log = new MemoryReplicaLog({ mappedFileSize: F });
  readonly client: HAClient;
  now = 1000;

  constructor(options: Partial<HAClientOptions> = {}) {
    this.client = new HAClient(this.log, { ...OPTIONS, ...options });
    this.client.started(false);
  }

  connect(range: MasterRange | null = null, probe: number | null = null): void {
    assert.equal(this.client.plan(range, probe), null);
    this.client.connected(this.now);
    assert.equal(this.report(), this.client.request, "the request is the first report");
  }

  /** The report that is due, as if written at once. */
  report(): number {
    const offset = this.client.takeReport(this.now);
    this.client.reportWritten();
    return offset;
  }

  /** A whole frame of `master`'s bytes, the way the driver carries it out. */
  frame(master: MemoryReplicaLog, from: number, to: number): HAVerdict | null {
    const { client, log } = this;
    client.received(this.now);
    const verdict = client.header(from, to - from);
    if (verdict !== null) return verdict;
    const body = master.slice(from, to);
    const share = client.checkShare(body.length);
    if (share > 0) {
      const own = log.slice(from, from + share);
      const differs = own.findIndex((byte, index) => byte !== body[index]);
      const compared = client.compared(share, differs);
      if (compared !== null) return compared;
    }
    if (share === body.length) return null;
    if (client.takeLeadByte(from + share)) log.appendReplica(0, new Uint8Array(1));
    return client.appended(log.appendReplica(from + share, body.subarray(share)));
  }

  heartbeat(offset: number): HAVerdict | null {
    this.client.received(this.now);
    return this.client.header(offset, 0);
  }

  /** Time passes; the report that is due then, or the verdict. */
  pass(ms: number): HAVerdict | number {
    this.now += ms;
    return this.client.tick(this.now) ?? this.report();
  }
}

/** A master's log of records of 136 bytes, and a slave's with the first `held` bytes of it. */
function twins(size: number, held: number, options: Partial<HAClientOptions> = {}) {
  const master = new MemoryReplicaLog({ mappedFileSize: F });
  master.fillTo(size);
  const slave = new Slave(options);
  if (held > 0) slave.log.appendReplica(0, master.slice(0, held));
  slave.log.discardPartial();
  return { master, slave };
}

describe("HAClient, a slave with data", () => {
  it("requests its last whole record, compares it, and only then acknowledges its end and goes on", () => {
    const { master, slave } = twins(2000, 1000);
    const last = slave.log.lastRecordOffset;
    const max = slave.log.maxOffset;
    slave.connect();
    assert.equal(slave.client.request, last);
    assert.equal(slave.client.connectionState, "HANDSHAKE");
    assert.equal(slave.client.state, "verifying");

    assert.equal(slave.frame(master, last, last + 50), null);
    assert.equal(slave.report(), -1, "no second report before the comparison is through");
    assert.equal(slave.client.verified, false);

    assert.equal(slave.frame(master, last + 50, max), null);
    assert.equal(slave.client.connectionState, "TRANSFER");
    assert.equal(slave.client.verified, true);
    assert.equal(slave.report(), max);

    assert.equal(slave.frame(master, max, master.maxOffset), null);
    assert.equal(slave.report(), master.maxOffset);
    assert.deepEqual(slave.log.slice(), master.slice());
  });

  it("appends what follows its end in the frame it compares", () => {
    const { master, slave } = twins(2000, 1000);
    slave.connect();
    assert.equal(slave.frame(master, slave.client.request, master.maxOffset), null);
    assert.equal(slave.report(), master.maxOffset);
    assert.deepEqual(slave.log.slice(), master.slice());
  });

  it("compares a BLANK at its end, too", () => {
    const { master, slave } = twins(F + 500, F);
    assert.equal(slave.log.maxOffset, F);
    slave.connect();
    assert.ok(slave.client.request < F);
    assert.equal(slave.frame(master, slave.client.request, F), null);
    assert.equal(slave.frame(master, F, master.maxOffset), null);
    assert.equal(slave.report(), master.maxOffset);
  });

  it("repeats its request as a heartbeat while it compares, its ack afterwards", () => {
    const { master, slave } = twins(2000, 1000);
    slave.connect();
    assert.equal(slave.pass(4999), -1);
    assert.equal(slave.pass(1), slave.client.request);
    const max = slave.log.maxOffset;
    slave.frame(master, slave.client.request, max);
    assert.equal(slave.report(), max);
    assert.equal(slave.pass(5000), max);
    assert.equal(slave.client.nextDeadline(), slave.now + 5000);
  });

  it("requests byte 1 when its only record is the first: 0 means something else", () => {
    const { master, slave } = twins(1000, 200);
    assert.equal(slave.log.lastRecordOffset, 0);
    slave.connect();
    assert.equal(slave.client.request, 1);
    assert.equal(slave.frame(master, 1, master.maxOffset), null);
    assert.deepEqual(slave.log.slice(), master.slice());
  });

  it("stops at a byte that differs, whichever it is", () => {
    for (let at = 0; at < 136; at++) {
      const { master, slave } = twins(2000, 1000);
      const last = slave.log.lastRecordOffset;
      master.flip(last + at);
      slave.connect();
      const verdict = slave.frame(master, last, master.maxOffset);
      assert.ok(verdict?.type === "diverged" && verdict.cause === "parted");
      assert.equal(verdict.offset, last + at);
      assert.equal(verdict.from, last);
      assert.match(verdict.reason, new RegExp(`byte at ${last + at} differs`));
      assert.equal(slave.report(), -1);
    }
  });

  it("is unverified when nothing comes within two heartbeats, and verified when it comes later", () => {
    const { master, slave } = twins(2000, 1000);
    slave.connect();
    slave.heartbeat(slave.client.request);
    assert.equal(slave.pass(10_999), slave.client.request);
    assert.equal(slave.client.state, "verifying");
    slave.pass(1);
    assert.equal(slave.client.state, "unverified");
    assert.match(slave.client.reason, /nothing from our last record/);
    assert.equal(slave.frame(master, slave.client.request, master.maxOffset), null);
    assert.equal(slave.client.state, "following");
  });

  it("stops when the comparison ends early and two heartbeats follow", () => {
    const { master, slave } = twins(F + 500, F);
    const end = slave.log.lastRecordOffset + 136;
    master.cutTo(end);
    slave.connect();
    assert.equal(slave.frame(master, slave.client.request, end), null);
    assert.equal(slave.heartbeat(end), null);
    const verdict = slave.heartbeat(end);
    assert.ok(verdict?.type === "diverged" && verdict.cause === "parted");
    assert.equal(verdict.offset, end);
    assert.match(verdict.reason, /master's log ends at/);
  });

  it("stops when a heartbeat stands below its request", () => {
    const { slave } = twins(2000, 1000);
    slave.connect();
    const verdict = slave.heartbeat(300);
    assert.ok(verdict?.type === "diverged" && verdict.cause === "parted");
    assert.equal(verdict.offset, 300);
  });

  it("learns from the master's range that the master is shorter", () => {
    const { slave } = twins(2000, 1000);
    slave.connect();
    const range = { minOffset: 0, maxOffset: 400 };
    assert.equal(slave.client.masterRange(range), null, "data may still be on its way");
    slave.heartbeat(slave.client.request);
    const verdict = slave.client.masterRange(range);
    assert.ok(verdict?.type === "diverged" && verdict.cause === "parted");
    assert.equal(verdict.offset, 400);
    slave.client.closed("gone");
    assert.equal(slave.client.wantsMasterRange, true);
    assert.equal(slave.client.plan(range, null)?.type, "diverged");
  });

  it("learns from the master's range that its next byte is gone", () => {
    const { slave } = twins(2000, 1000);
    slave.connect();
    slave.heartbeat(slave.client.request);
    const range = { minOffset: F, maxOffset: 2 * F };
    const verdict = slave.client.masterRange(range);
    assert.ok(verdict?.type === "hole");
    assert.equal(verdict.offset, slave.log.maxOffset);
    assert.equal(slave.client.plan(range, null)?.type, "hole");
  });

  it("finds a hole while following, by heartbeats alone and the range", () => {
    const { master, slave } = twins(2000, 1000);
    slave.connect();
    slave.frame(master, slave.client.request, master.maxOffset);
    const range = { minOffset: F, maxOffset: 2 * F };
    slave.heartbeat(master.maxOffset);
    assert.equal(slave.client.masterRange(range), null);
    slave.heartbeat(master.maxOffset);
    assert.equal(slave.client.masterRange(range)?.type, "hole");
  });

  it("requests its max, unverified, when only its last record is gone at the master", () => {
    const { master, slave } = twins(F + 500, F);
    const range = { minOffset: F, maxOffset: master.maxOffset };
    slave.connect();
    slave.heartbeat(slave.client.request);
    assert.equal(slave.client.masterRange(range)?.type, "relearn");
    slave.client.closed("learn");

    slave.connect(range);
    assert.equal(slave.client.request, F);
    assert.equal(slave.client.state, "unverified");
    assert.equal(slave.frame(master, F, F + 40), null);
    assert.equal(slave.client.state, "unverified", "no whole record yet");
    assert.equal(slave.frame(master, F + 40, master.maxOffset), null);
    assert.equal(slave.client.state, "following");
  });

  it("takes a refusal of the first record after its max for a divergence of before", () => {
    const { master, slave } = twins(F + 500, F);
    slave.connect({ minOffset: F, maxOffset: master.maxOffset });
    master.flip(F + 30);
    const verdict = slave.frame(master, F, master.maxOffset);
    assert.ok(verdict?.type === "diverged" && verdict.cause === "parted" && verdict.from === -1);
  });

  it("compares from a probe when told to", () => {
    const { master, slave } = twins(2000, 1000);
    slave.connect(null, 136);
    assert.equal(slave.client.request, 136);
    assert.equal(slave.frame(master, 136, master.maxOffset), null);
    assert.equal(slave.client.state, "following");
  });
});

describe("HAClient, frames that can't be right", () => {
  it("stops at a frame or a heartbeat that is not where it is expected", () => {
    for (const size of [0, 100]) {
      const { master, slave } = twins(2000, 1000);
      slave.connect();
      slave.frame(master, slave.client.request, slave.log.maxOffset);
      const verdict = slave.client.header(slave.log.maxOffset + 1, size);
      assert.ok(verdict?.type === "diverged" && verdict.cause === "rejected");
      assert.match(verdict.reason, /wanted/);
    }
  });

  it("stops at a frame that crosses a boundary of its files", () => {
    const { master, slave } = twins(F - 200, 1000);
    slave.connect();
    slave.frame(master, slave.client.request, master.maxOffset);
    const verdict = slave.client.header(master.maxOffset, F);
    assert.ok(verdict?.type === "diverged");
    assert.match(verdict.reason, /mappedFileSizeCommitLog/);
  });

  it("stops at a record the log refuses, and never acknowledges it", () => {
    const { master, slave } = twins(2000, 1000);
    slave.connect();
    const max = slave.log.maxOffset;
    master.flip(max + 200);
    const verdict = slave.frame(master, slave.client.request, master.maxOffset);
    assert.ok(verdict?.type === "diverged" && verdict.cause === "rejected");
    assert.match(verdict.reason, /badCrc/);
    assert.equal(slave.report(), slave.log.maxOffset);
    assert.ok(slave.log.maxOffset < max + 200);
  });
});

describe("HAClient, an empty slave", () => {
  let slave: Slave;
  let master: MemoryReplicaLog;
  beforeEach(() => {
    slave = new Slave();
    master = new MemoryReplicaLog({ mappedFileSize: F });
    master.fillTo(2 * F + 1000);
  });

  it("asks for the range first", () => assert.equal(slave.client.wantsMasterRange, true));

  it("copies everything from byte 1, with the byte that is not sent", () => {
    slave.connect({ minOffset: 0, maxOffset: master.maxOffset });
    assert.equal(slave.client.request, 1);
    for (let at = 1; at < master.maxOffset;) {
      const end = Math.min(master.maxOffset, at - at % F + F, at + 700);
      assert.equal(slave.frame(master, at, end), null);
      at = end;
    }
    assert.equal(slave.report(), master.maxOffset);
    assert.deepEqual(slave.log.slice(), master.slice());
  });

  it("starts at a min above 0", () => {
    slave.connect({ minOffset: F, maxOffset: master.maxOffset });
    assert.equal(slave.client.request, F);
    assert.equal(slave.frame(master, F, 2 * F), null);
    assert.equal(slave.log.minOffset, F);
    assert.equal(slave.report(), 2 * F);
  });

  it("learns again when the first frame or heartbeat is elsewhere", () => {
    slave.connect({ minOffset: 0, maxOffset: F - 1 });
    assert.equal(slave.client.request, 0);
    assert.equal(slave.heartbeat(F)?.type, "relearn");
    slave.client.closed("learn");
    slave.connect({ minOffset: 0, maxOffset: F - 1 });
    assert.equal(slave.frame(master, 2 * F, master.maxOffset)?.type, "relearn");
    assert.equal(slave.log.maxOffset, 0);
  });

  it("learns again when the min has moved past its request", () => {
    slave.connect({ minOffset: F, maxOffset: master.maxOffset });
    slave.heartbeat(F);
    assert.equal(slave.client.masterRange({ minOffset: F, maxOffset: master.maxOffset }), null);
    assert.equal(slave.client.masterRange({ minOffset: 2 * F, maxOffset: master.maxOffset })?.type, "relearn");
  });

  it("follows Apache's rule when the range can't be learned", () => {
    slave.connect(null);
    assert.equal(slave.client.request, 0);
    assert.equal(slave.heartbeat(2 * F), null);
    assert.equal(slave.log.maxOffset, 0, "a heartbeat fixes no start");
    assert.equal(slave.frame(master, 2 * F, master.maxOffset), null);
    assert.equal(slave.report(), master.maxOffset);
    assert.equal(slave.log.minOffset, 2 * F);
  });

  it("waits at an empty master and takes its first record", () => {
    slave.connect({ minOffset: 0, maxOffset: 0 });
    assert.equal(slave.heartbeat(0), null);
    assert.equal(slave.heartbeat(0), null);
    assert.equal(slave.report(), -1);
    assert.equal(slave.pass(5000), 0);
    assert.equal(slave.frame(master, 0, 500), null);
    assert.equal(slave.report(), slave.log.maxOffset);
    assert.equal(slave.client.state, "following");
  });

  it("holds its request as its report until a whole record is there", () => {
    slave.connect({ minOffset: 0, maxOffset: master.maxOffset });
    slave.frame(master, 1, 50);
    assert.equal(slave.report(), -1);
    assert.equal(slave.pass(5000), 1);
  });

  it("refuses a haStartOffset inside a file at once", () => {
    assert.throws(() => new Slave({ haStartOffset: 100 }), ConfigError);
  });
});

describe("HAClient, time", () => {
  it("closes when nothing was read for haHousekeepingInterval", () => {
    const { slave } = twins(2000, 1000);
    slave.connect();
    for (let i = 0; i < 3; i++) assert.equal(slave.pass(5000), slave.client.request);
    assert.equal(slave.pass(4999), -1);
    const verdict = slave.pass(1);
    assert.ok(typeof verdict === "object" && verdict.type === "close");
  });

  it("takes a connection for no sign of life", () => {
    const { master, slave } = twins(2000, 1000);
    slave.connect();
    assert.equal(slave.client.lastReadAt, 0, "never heard");
    slave.frame(master, slave.client.request, master.maxOffset);
    slave.client.received(slave.now);
    const heardAt = slave.now;
    slave.client.closed("reset");
    slave.now += 30_000;
    slave.connect();
    assert.equal(slave.client.lastReadAt, heardAt);
    assert.equal(slave.client.tick(slave.now), null, "but the silence counts from the connection on");
    assert.ok(slave.client.nextDeadline() > slave.now);
  });

  it("closes when the master takes no report for haHousekeepingInterval", () => {
    const { slave } = twins(2000, 1000);
    slave.client.plan(null, null);
    slave.client.connected(slave.now);
    assert.equal(slave.client.takeReport(slave.now), slave.client.request);
    slave.now += 19_000;
    slave.client.received(slave.now);
    assert.equal(slave.client.takeReport(slave.now), -1, "one report is out at a time");
    assert.equal(slave.client.tick(slave.now), null);
    slave.now += 1000;
    const verdict = slave.client.tick(slave.now);
    assert.match(verdict?.type === "close" ? verdict.reason : "", /took no report/);
  });

  it("reports the newest offset once the one before is written", () => {
    const { master, slave } = twins(2000, 1000);
    slave.connect();
    slave.frame(master, slave.client.request, slave.log.maxOffset);
    assert.equal(slave.client.takeReport(slave.now), slave.log.maxOffset);
    const max = slave.log.maxOffset;
    slave.frame(master, max, max + 136);
    slave.frame(master, max + 136, max + 272);
    assert.equal(slave.client.takeReport(slave.now), -1);
    slave.client.reportWritten();
    assert.equal(slave.client.takeReport(slave.now), max + 272);
  });

  it("reports only what is flushed under haAckAfterFlush", () => {
    const { master, slave } = twins(2000, 1000, { haAckAfterFlush: true });
    slave.log.autoFlush = false;
    const max = slave.log.maxOffset;
    slave.connect();
    slave.frame(master, slave.client.request, master.maxOffset);
    assert.equal(slave.report(), max);
    assert.equal(slave.report(), -1);
    slave.log.flush();
    assert.equal(slave.report(), master.maxOffset);
  });

  it("waits longer after each failure, at most 5 s, and starts over after following", () => {
    const { master, slave } = twins(2000, 1000);
    const delays: number[] = [];
    for (let i = 0; i < 6; i++) {
      slave.client.closed("refused");
      delays.push(slave.client.reconnectDelay(0));
      assert.ok(slave.client.reconnectDelay(999) <= slave.client.reconnectDelay(0));
      assert.ok(slave.client.reconnectDelay(999) > 400);
    }
    assert.deepEqual(delays, [500, 1000, 2000, 4000, 5000, 5000]);
    slave.connect();
    slave.frame(master, slave.client.request, master.maxOffset);
    slave.client.closed("reset");
    assert.equal(slave.client.reconnectDelay(0), 500);
  });

  it("waits longer, too, while it can compare but not write", () => {
    const { master, slave } = twins(2000, 1000);
    const delays: number[] = [];
    for (let i = 0; i < 4; i++) {
      slave.connect();
      slave.frame(master, slave.client.request, slave.log.maxOffset);
      assert.equal(slave.client.state, "following");
      slave.client.closed("own log can't be written");
      delays.push(slave.client.reconnectDelay(0));
    }
    assert.deepEqual(delays, [500, 1000, 2000, 4000]);
  });

  it("looks from its last record when the file of the probe has expired", () => {
    const { slave } = twins(2000, 1000);
    slave.log.minOffset = 136;
    slave.client.plan(null, 0);
    assert.equal(slave.client.request, slave.log.lastRecordOffset);
  });

  it("names its states as Apache does", () => {
    const { slave } = twins(2000, 1000);
    const { client } = slave;
    assert.equal(client.connectionState, "READY");
    const revision = client.revision;
    client.suspended({ type: "hole", reason: "gone", offset: 5 });
    assert.equal(client.connectionState, "SUSPEND");
    assert.equal(client.state, "hole");
    assert.ok(client.revision > revision);
    client.stopped();
    assert.equal(client.connectionState, "SHUTDOWN");
    client.started(true);
    assert.deepEqual([client.connectionState, client.state], ["READY", "idle"]);
  });
});
