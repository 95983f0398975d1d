// Puts that wait for a slave: a SYNC_MASTER with `inSyncReplicas=2` and one slave of its own kind, one put in flight from
// the neutral producer; over loopback, with the replication connection over longer ways, and while another, empty slave
// catches up with the whole log.

import * as path from "node:path";
import { remotingCall } from "../../tests/interop/lab/remoting_call.ts";
import { withDelay } from "./delay.ts";
import { pause, waitQuiet } from "./machine.ts";
import { measure, Peer, type PeerResult } from "./peer.ts";
import { copyOfLog, type Figures } from "./phases.ts";
import type { ReplicationAmounts } from "./replication_phases.ts";
import { median } from "./report.ts";
import type { Running, Subject } from "./subjects.ts";

const GET_BROKER_HA_STATUS = 907;
/** Made by the first put, with as many queues as the request asks for: 4. */
const TOPIC = "BenchSyncPut";
const QUEUES = 4;
const BODY_SIZE = 1024;
/** With fewer puts the last in a thousand is only the worst. */
const PUTS_FOR_P999 = 1000;

/** One life of a pair, on stores that begin with the log and are kept in `directory` from round to round. */
export async function pairLife(subject: Subject, amounts: ReplicationAmounts, directory: string): Promise<Figures> {
  const { log, idleMs, warmUpPuts } = amounts;
  const storeOf = (role: string) => copyOfLog(log, path.join(directory, `${role}-${subject.name}`));
  const master = await subject.start("syncMaster", storeOf("pair-master"), log.mappedFileSize);
  try {
    const slave = await subject.start("slave", storeOf("pair-slave"), log.mappedFileSize);
    try {
      await pause(idleMs);
      // A log that was only copied is dispatched first.
      await waitQuiet(master.pid);
      await waitQuiet(slave.pid);
      const pair = new Pair(master, slave);
      const figures: Figures = { failedPuts: 0 };
      await withDelay(master.haPort, 0, async (port) => {
        await pair.attach(port);
        await measure("send_peer", ...producer(master, warmUpPuts, 0));
      });
      for (const { delayUs, puts } of amounts.delayed) {
        await withDelay(master.haPort, delayUs, async (port) => {
          await pair.attach(port);
          const warmUp = Math.ceil(puts / 20);
          add(figures, `put${delayUs}`, await measure("send_peer", ...producer(master, puts, warmUp)));
        });
      }
      await pair.attach(master.haPort);
      return { ...figures, ...await loopbackAndLive(master, amounts, figures) };
    } finally {
      await slave.stop();
    }
  } finally {
    await master.stop();
  }
}

/** Over loopback, and at once again while neutral slaves, each as empty as the one before, catch up one after another. */
async function loopbackAndLive(master: Running, amounts: ReplicationAmounts, before: Figures): Promise<Figures> {
  const figures: Figures = { failedPuts: before.failedPuts! };
  const peer = new Peer("send_peer", [...producer(master, amounts.puts, amounts.warmUpPuts), 2]);
  try {
    peer.go();
    const alone = await peer.result();
    add(figures, "put0", alone);
    let ended = false;
    const sent = peer.result(600_000).finally(() => ended = true);
    const rates: number[] = [];
    const pulling = (async () => {
      while (!ended) {
        const { bytes, seconds } = await measure("ha_peer", "pull", master.haPort, 0, amounts.log.marks[0]!);
        rates.push(bytes! / seconds! / 1e9);
      }
    })();
    peer.go();
    const live = await sent;
    await pulling;
    add(figures, "live", live);
    figures.liveCatchUpGBs = median(rates);
    figures.liveP99Ratio = live.p99us! / alone.p99us!;
    return figures;
  } finally {
    await peer.destroy();
  }
}

/** Arguments of send_peer: one connection, one put in flight. */
function producer(master: Running, puts: number, warmUp: number): (string | number)[] {
  return [master.port, TOPIC, QUEUES, 1, 1, BODY_SIZE, puts, warmUp];
}

function add(figures: Figures, key: string, { p50us, p99us, p999us, sends, failed }: PeerResult): void {
  figures[`${key}P50`] = p50us!;
  figures[`${key}P99`] = p99us!;
  if (sends! >= PUTS_FOR_P999) figures[`${key}P999`] = p999us!;
  figures.failedPuts! += failed!;
}

/** Who replicates from whom. */
class Pair {
  readonly #master: Running;
  readonly #slave: Running;
  #address: string | null = null;

  constructor(master: Running, slave: Running) {
    this.#master = master;
    this.#slave = slave;
  }

  /**
   * The slave replicates through that port from here on. Apache's leaves a connection only when it ends, so the way that
   * was used before has to be gone, and it tries again 5 s after that.
   */
  async attach(port: number): Promise<void> {
    await this.#slave.follow(port);
    const deadline = performance.now() + 60_000;
    for (;;) {
      const { body } = await remotingCall(this.#master.port, GET_BROKER_HA_STATUS);
      const slaves: { addr: string; diff: number }[] = JSON.parse(body.toString()).haConnectionInfo ?? [];
      if (slaves.length === 1 && slaves[0]!.diff === 0 && slaves[0]!.addr !== this.#address) {
        this.#address = slaves[0]!.addr;
        return;
      }
      if (performance.now() > deadline) throw new Error(`Slave is not in sync after 60 s: ${body}`);
      await pause(20);
    }
  }
}
