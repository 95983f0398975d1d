// Delayed messages in a store that Apache and Twinlog own in turn: levels and delivery times that one took are kept by the
// other, over a kill and a clean stop; handles of the one call back at the other; copies carry the same properties.

import assert from "node:assert/strict";
import * as path from "node:path";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import { decodeMessage } from "../../src/store/message_codec.ts";
import type { StoredMessage } from "../../src/store/types.ts";
import { runtime } from "../remoting/support.ts";
import { ApacheLab, hasJava } from "./lab/apache.ts";
import { until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { startTwinlog } from "./lab/twinlog.ts";

const FILE = 16 * 1024 * 1024;
const java = await hasJava();

/** A producer and a reader on the wire. */
class Client {
  readonly #client = new RemotingClient({ net: runtime.net, clock: runtime.clock });
  readonly #address: string;

  constructor(address: string) {
    this.#address = address;
  }

  /** Sends until it is taken; returns the handle to call it back by. */
  async send(key: string, properties: Record<string, string>): Promise<string | undefined> {
    const i = Object.entries({ UNIQ_KEY: key, WAIT: "true", ...properties })
      .map(([name, value]) => `${name}\x01${value}\x02`).join("");
    const ext = { a: "pg", b: "T", c: "TBW102", d: 1, e: 0, f: 0, g: Date.now(), h: 0, i, j: 0, k: false };
    const answer = await until(`${key} to be taken`, 30_000, async () => {
      const answer = await this.ask(310, ext, utf8.encode(key));
      return answer.code === 0 ? answer : null;
    });
    return answer.extFields.get("recallHandle");
  }

  async recall(handle: string): Promise<void> {
    const answer = await this.ask(370, { producerGroup: "pg", topic: "T", recallHandle: handle });
    assert.equal(answer.code, 0, answer.remark ?? "");
  }

  /** All that is delivered. */
  async delivered(): Promise<StoredMessage[]> {
    const messages: StoredMessage[] = [];
    for (;;) {
      const answer = await this.ask(11, {
        consumerGroup: "TOOLS_CONSUMER",
        topic: "T",
        queueId: 0,
        queueOffset: messages.length,
        maxMsgNums: 32,
        sysFlag: 4,
        commitOffset: 0,
        suspendTimeoutMillis: 0,
        subscription: "*",
        subVersion: 0,
        expressionType: "TAG",
      });
      if (answer.code !== 0) return messages;
      for (let at = 0; at < answer.body.length; at += messages.at(-1)!.storeSize) {
        messages.push(decodeMessage(answer.body, at));
      }
    }
  }

  async keys(): Promise<string[]> {
    return (await this.delivered()).map((message) => utf8.decode(message.body));
  }

  async waitFor(...keys: string[]): Promise<void> {
    await until(`${keys.join(", ")} to be delivered`, 90_000, async () => {
      const delivered = await this.keys();
      return keys.every((key) => delivered.includes(key));
    });
  }

  ask(code: number, ext: ExtValues, body?: Uint8Array): Promise<RemotingCommand> {
    return this.#client.invoke(this.#address, createRequest(code, ext, body), 5000);
  }

  close(): void {
    this.#client.close();
  }
}

describe("a store with delayed messages, owned in turn", { skip: java ? false : "no Java here" }, () => {
  const directory = java ? scratch("delayed") : "";

  it("by Apache, killed, by Twinlog, and by Apache again", { timeout: 400_000 }, async () => {
    const lab = await ApacheLab.create("5.3.3", directory);
    const namesrv = (await lab.startNamesrv()).address;
    const store = path.join(directory, "store");
    const name = "b-delay";
    const settings = { mappedFileSizeCommitLog: FILE, recallMessageEnable: "true" };
    const startApache = () => lab.startBroker({ name, role: "ASYNC_MASTER", namesrv, store, settings });
    const inSeconds = (seconds: number) => ({ TIMER_DELAY_SEC: String(seconds) });

    const first = await startApache();
    const early = new Client(first.address);
    await early.send("a-level-1", { DELAY: "1" });
    await early.send("a-level-5", { DELAY: "5" });
    await early.send("a-level-6", { DELAY: "6" });
    await early.send("a-timer-3", inSeconds(3));
    await early.send("a-timer-60", inSeconds(60));
    await early.send("a-timer-120", inSeconds(120));
    const aHandle = await early.send("a-recalled", inSeconds(70));
    await early.waitFor("a-level-1", "a-timer-3");
    early.close();
    await first.process.destroy();

    const args = ["--role", "master", "--name", name, "--mapped-file-size-commit-log", String(FILE)];
    args.push("--recall-message-enable", "true", "--namesrv-enable", "false");
    const node = await startTwinlog({ runtime: "node", directory, store, args });
    const middle = new Client(node.addresses.remoting);
    await middle.recall(aHandle!);
    await middle.send("b-level-1", { DELAY: "1" });
    await middle.send("b-level-6", { DELAY: "6" });
    await middle.send("b-timer-3", inSeconds(3));
    await middle.send("b-timer-90", inSeconds(90));
    const bHandle = await middle.send("b-recalled", inSeconds(100));
    await middle.waitFor("b-level-1", "b-timer-3", "a-level-5", "a-timer-60");
    middle.close();
    assert.equal(await node.process.stop(), 0);

    const second = await startApache();
    const late = new Client(second.address);
    await until("Apache to serve", 30_000, async () => (await late.keys().catch(() => [])).length > 0);
    await late.recall(bHandle!);
    await late.waitFor("a-level-6", "b-level-6", "a-timer-120", "b-timer-90");
    const messages = await late.delivered();
    const keys = messages.map((message) => utf8.decode(message.body)).sort();
    assert.deepEqual(keys, [
      "a-level-1",
      "a-level-5",
      "a-level-6",
      "a-timer-120",
      "a-timer-3",
      "a-timer-60",
      "b-level-1",
      "b-level-6",
      "b-timer-3",
      "b-timer-90",
    ]);
    // Delivered by Apache and by us: the same properties, but for what a send adds.
    const names = (key: string) => {
      const { properties } = messages.find((message) => utf8.decode(message.body) === key)!;
      return [...properties.keys()].sort();
    };
    assert.deepEqual(names("a-level-5"), names("a-level-1"));
    assert.deepEqual(names("b-level-1"), names("a-level-1"));
    assert.deepEqual(names("a-timer-60"), names("a-timer-3"));
    assert.deepEqual(names("b-timer-3"), names("a-timer-3"));
    assert.deepEqual(names("b-timer-90"), names("a-timer-3"));
    late.close();
    await second.process.destroy();
  });
});
