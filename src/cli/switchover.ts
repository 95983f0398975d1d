// The verb switchover: the planned change of master and slave, all of it or back to the start. The old master steps down
// before the new one is promoted, so that at no time two nodes take puts, and every step up to the promotion can be
// taken back without losing a byte.

import type { NodeStatus } from "../admin/admin_port.ts";
import { sleep } from "../base/async.ts";
import { errorMessage } from "../base/errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { AdminError } from "./admin_client.ts";
import type { AdminClient } from "./admin_client.ts";

const LOOK_AGAIN_MS = 50;

/** The two nodes, as named on the command line. */
export interface SwitchoverNodes {
  readonly from: AdminClient;
  readonly to: AdminClient;
}

/**
 * Makes the slave `to` the master and the master `from` its slave: stop puts, wait for equal offsets, demote `from` and
 * let it follow `to`, promote `to`. A failure before the promotion takes everything back and is thrown; where that fails
 * too, or nobody can say whether the promotion was done, the error says what to do by hand. `timeoutMs` bounds each wait.
 */
export async function runSwitchover(
  runtime: Runtime,
  nodes: SwitchoverNodes,
  options: { readonly timeoutMs: number },
): Promise<number> {
  const { from, to } = nodes;
  const say = (line: string) => runtime.process.writeOut(`${line}\n`);
  const until = (what: string, holds: () => Promise<string | null>) =>
    waitUntil(runtime, what, options.timeoutMs, holds);
  // The slave first: under load its log may end beyond what the master said a moment before.
  const slave = await to.status();
  const master = await from.status();
  checkPair(from, master, to, slave);

  let promoted: NodeStatus | null;
  // What takes the old master back to where it was: a fence is lifted, and ended by every role switch.
  let wayBack: [string, unknown] = ["/fenced", { fenced: false }];
  try {
    const fenced = await from.request<NodeStatus>("PUT", "/fenced", { body: { fenced: true } });
    say(`Puts are held off at ${from.address}, its log ends at ${fenced.maxOffset}`);
    await until(`${to.address} to reach ${fenced.maxOffset}`, async () => {
      const { maxOffset, master: link } = await to.status();
      return maxOffset === fenced.maxOffset && link?.verified === true
        ? null
        : `it is at ${maxOffset}, ${link?.reason ?? "following"}`;
    });
    wayBack = ["/role", { role: master.brokerRole, force: true }];
    const follow = { role: "SLAVE", brokerId: slave.brokerId, masterAddress: slave.haServerAddr };
    await from.request("PUT", "/role", { body: follow });
    await until(`${from.address} to follow ${slave.haServerAddr}`, () => notFollowing(from));
    say(`${from.address} is SLAVE and follows ${slave.haServerAddr}`);
    promoted = await promote(to, { role: master.brokerRole, masterEnd: fenced.maxOffset });
  } catch (error) {
    throw new Error(`Switchover failed: ${errorMessage(error)}. ${await goBack(from, wayBack)}`, { cause: error });
  }
  if (promoted === null) {
    throw new Error(
      `${to.address} was told to be ${master.brokerRole} and does not answer any more; ${from.address} stays SLAVE, as two masters are worse than none. ` +
        `Once ${to.address} is known to be down for good: role ${master.brokerRole} --force --admin ${from.address}`,
    );
  }
  say(`${to.address} is ${promoted.brokerRole} and takes puts`);
  await until(`${from.address} to follow ${to.address}`, () => notFollowing(from)).catch((error) => {
    throw new Error(`The roles are switched, but ${errorMessage(error)}`, { cause: error });
  });
  return 0;
}

/** Refuses a pair that can't be switched before anything is touched. */
function checkPair(from: AdminClient, master: NodeStatus, to: AdminClient, slave: NodeStatus): void {
  const refuse = (reason: string) => {
    throw new Error(`${reason}. Nothing is changed`);
  };
  if (master.brokerRole === "SLAVE") refuse(`${from.address} is SLAVE, wanted a master in --from`);
  if (slave.brokerRole !== "SLAVE") refuse(`${to.address} is ${slave.brokerRole}, wanted a SLAVE in --to`);
  if (master.brokerName !== slave.brokerName) {
    refuse(
      `${from.address} is "${master.brokerName}" and ${to.address} is "${slave.brokerName}", wanted one brokerName`,
    );
  }
  const link = slave.master;
  if (link === null || link.reason !== null || link.state !== "TRANSFER" || !link.verified) {
    refuse(
      `${to.address} does not follow (${
        link?.reason ?? link?.state ?? "no master"
      }), wanted a verified slave in TRANSFER`,
    );
  }
  if (slave.maxOffset > master.maxOffset) {
    refuse(`${to.address} ends at ${slave.maxOffset}, wanted at most ${master.maxOffset}, where ${from.address} ends`);
  }
}

/**
 * Promotes and answers the new status; `null` when nobody can say whether it was done. Throws when it was not. The master
 * was heard just now, as a switchover has it; with `masterEnd` the node sees that nothing is missing, and needs no force.
 */
async function promote(
  to: AdminClient,
  body: { readonly role: string; readonly masterEnd: number },
): Promise<NodeStatus | null> {
  try {
    return await to.request<NodeStatus>("PUT", "/role", { body });
  } catch (error) {
    if (error instanceof AdminError && error.status < 500) throw error;
    const status = await to.status().catch(() => null);
    if (status?.brokerRole === "SLAVE") throw error;
    return status;
  }
}

/** Why a slave does not follow yet, `null` when it does. */
async function notFollowing(node: AdminClient): Promise<string | null> {
  const { master: link } = await node.status();
  return link?.state === "TRANSFER" && link.verified
    ? null
    : `it is ${link?.state ?? "no slave"}, ${link?.reason ?? "unverified"}`;
}

/** Takes back what was done at the old master; the answer is the end of the error message. */
async function goBack(from: AdminClient, [path, body]: [string, unknown]): Promise<string> {
  try {
    await from.request("PUT", path, { body });
    return "Everything is back to the start";
  } catch (error) {
    return `Going back failed too (${errorMessage(error)}), by hand: PUT ${path} ${
      JSON.stringify(body)
    } at ${from.address}`;
  }
}

/** Asks again and again until `holds` answers `null`; its last answer is part of the error. */
async function waitUntil(
  runtime: Runtime,
  what: string,
  timeoutMs: number,
  holds: () => Promise<string | null>,
): Promise<void> {
  const deadline = runtime.clock.monotonic() + timeoutMs;
  while (true) {
    const missing = await holds();
    if (missing === null) return;
    if (runtime.clock.monotonic() >= deadline) throw new Error(`waited ${timeoutMs} ms for ${what}, but ${missing}`);
    await sleep(runtime.clock, LOOK_AGAIN_MS);
  }
}
