// switchover over two fake nodes that behave like a master and its slave: all of it, or back to the start.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { createAdminApp } from "../../src/admin/admin_app.ts";
import type { AdminOutcome, RoleRequest } from "../../src/admin/admin_port.ts";
import { AdminClient } from "../../src/cli/admin_client.ts";
import { runSwitchover } from "../../src/cli/switchover.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { FakePort, followingStatus, nodeStatus } from "../admin/fake_port.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** A node whose role changes as asked; `refuse` names a role it won't take, `dieOn` one after which it is gone. */
class Node extends FakePort {
  refuse: string | null = null;
  dieOn: string | null = null;
  isDead = false;
  follows = true;
  readonly clock = new ManualClock();
  readonly client: AdminClient;

  constructor(address: string) {
    super();
    const app = createAdminApp(this, { token: null, clock: this.clock, ending: new AbortController().signal });
    this.client = new AdminClient(
      address,
      null,
      (async (input: string, init: RequestInit) => {
        if (this.isDead) throw new TypeError("fetch failed");
        const response = await app.request(input, init);
        if (this.isDead) throw new TypeError("fetch failed");
        return response;
      }) as typeof fetch,
    );
  }

  override switchRole(request: RoleRequest): Promise<AdminOutcome> {
    this.asked.push(request);
    if (request.role === this.dieOn) this.isDead = true;
    if (request.role === this.refuse) return Promise.resolve({ type: "refused", reason: "It won't" });
    const { maxOffset } = this.figures;
    const status = request.role === "SLAVE"
      ? followingStatus({ maxOffset })
      : nodeStatus({ brokerRole: request.role, maxOffset });
    this.figures = { ...status, haServerAddr: this.figures.haServerAddr };
    if (status.master !== null && !this.follows) {
      this.figures = {
        ...this.figures,
        master: { ...status.master, state: "READY", verified: false, reason: "refused" },
      };
    }
    return Promise.resolve({ type: "done" });
  }
}

let from: Node;
let to: Node;
let lines: string[];
const clock = new ManualClock();
// Waits of the verb pass at once: time moves on by what they wait for.
const runtime = {
  clock: {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    setTimer: (delayMs: number, callback: () => void) => {
      clock.advance(delayMs);
      Promise.resolve().then(callback);
      return { cancel: () => {} };
    },
  },
  process: { writeOut: (text: string) => lines.push(text) },
} as unknown as Runtime;
const run = () => runSwitchover(runtime, { from: from.client, to: to.client }, { timeoutMs: 500 });

beforeEach(() => {
  lines = [];
  from = new Node("127.0.0.1:1001");
  to = new Node("127.0.0.1:1002");
  from.figures = nodeStatus({ brokerRole: "SYNC_MASTER", haServerAddr: "10.0.0.1:10912" });
  to.figures = followingStatus({ brokerId: 3, haServerAddr: "10.0.0.2:11912" });
});

const isAtTheStart = () => {
  assert.equal(from.figures.brokerRole, "SYNC_MASTER");
  assert.equal(from.figures.fenced, false);
  assert.equal(to.figures.brokerRole, "SLAVE");
};

describe("switchover", () => {
  it("fences, waits, demotes and follows, promotes", async () => {
    to.figures = { ...to.figures, maxOffset: 400 };
    let looks = 0;
    const status = to.status.bind(to);
    to.status = () => {
      if (++looks === 4) to.figures = { ...to.figures, maxOffset: 1000 };
      return status();
    };
    assert.equal(await run(), 0);
    assert.deepEqual(from.asked, [{ fenced: true }, { role: "SLAVE", brokerId: 3, masterAddress: "10.0.0.2:11912" }]);
    assert.deepEqual(to.asked, [{ role: "SYNC_MASTER", masterEnd: 1000 }], "nothing is forced");
    assert.equal(lines.length, 3);
  });

  it("touches nothing when the pair can't be switched", async () => {
    const cases: [() => void, RegExp][] = [
      [() => from.figures = followingStatus(), /is SLAVE, wanted a master in --from/],
      [() => to.figures = nodeStatus(), /is ASYNC_MASTER, wanted a SLAVE in --to/],
      [() => to.figures = { ...to.figures, brokerName: "other" }, /wanted one brokerName/],
      [() => to.figures = { ...to.figures, maxOffset: 2000 }, /ends at 2000, wanted at most 1000/],
      [() => to.figures = { ...to.figures, master: { ...to.figures.master!, verified: false } }, /does not follow/],
      [
        () => to.figures = { ...to.figures, master: { ...to.figures.master!, reason: "diverged" } },
        /does not follow \(diverged\)/,
      ],
    ];
    const start = [from.figures, to.figures] as const;
    for (const [spoil, pattern] of cases) {
      [from.figures, to.figures] = start;
      spoil();
      await assert.rejects(run, pattern);
    }
    assert.deepEqual([...from.asked, ...to.asked], []);
  });

  it("goes back when the slave does not catch up", async () => {
    to.figures = { ...to.figures, maxOffset: 400 };
    await assert.rejects(
      run,
      /waited 500 ms for 127\.0\.0\.1:1002 to reach 1000, but it is at 400.*Everything is back to the start/,
    );
    isAtTheStart();
  });

  it("goes back when the master won't step down", async () => {
    from.refuse = "SLAVE";
    await assert.rejects(run, /It won't \(409\)\. Everything is back to the start/);
    assert.equal(from.figures.brokerRole, "SYNC_MASTER");
    assert.deepEqual(to.asked, []);
  });

  it("goes back when the old master can't follow the new one", async () => {
    from.follows = false;
    await assert.rejects(run, /to follow 10\.0\.0\.2:11912, but it is READY, refused\. Everything is back/);
    isAtTheStart();
    assert.deepEqual(to.asked, []);
  });

  it("goes back when the slave refuses the promotion", async () => {
    to.refuse = "SYNC_MASTER";
    await assert.rejects(run, /It won't.*Everything is back to the start/);
    isAtTheStart();
  });

  it("leaves no second master when nobody can say whether the promotion was done", async () => {
    to.dieOn = "SYNC_MASTER";
    await assert.rejects(run, /does not answer any more; 127\.0\.0\.1:1001 stays SLAVE/);
    assert.equal(from.figures.brokerRole, "SLAVE");
  });

  it("says what to do by hand when going back fails", async () => {
    to.refuse = "SYNC_MASTER";
    from.refuse = "SYNC_MASTER";
    await assert.rejects(
      run,
      /Going back failed too .*by hand: PUT \/role \{"role":"SYNC_MASTER","force":true\} at 127\.0\.0\.1:1001/,
    );
  });
});
