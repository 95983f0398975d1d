// A model of how RocketMQ 4.x slaves copied their master's consumer offsets (`SlaveSynchronize.syncConsumerOffset`):
// every ten seconds, from whoever was the master once, put over their own entries, whatever those say.

import { startLoop, WakeUp } from "../../../src/base/async.ts";
import { utf8 } from "../../../src/base/bytes.ts";
import { IoError } from "../../../src/base/errors.ts";
import { isJavaJsonObject, parseJavaJson } from "../../../src/remoting/java_json.ts";
import { RemotingClient } from "../../../src/remoting/remoting_client.ts";
import { createRequest } from "../../../src/remoting/remoting_command.ts";
import { RequestCode } from "../../../src/remoting/request_code.ts";
import type { Clock, Net } from "../../../src/runtime/runtime.ts";

const INTERVAL_MS = 10_000;

/** The old slave's table, `topic@group` to (queue id to offset) as JSON text, and the loop that copies it. */
export class OldSlaveSynchronize {
  readonly offsetTable: Map<string, string>;
  copies = 0;
  readonly #net: Net;
  readonly #clock: Clock;
  readonly #masterAddr: string;
  readonly #wake = new WakeUp();
  #running = true;
  #loop: Promise<void> = Promise.resolve();

  constructor(parts: { net: Net; clock: Clock; masterAddr: string; offsetTable: Map<string, string> }) {
    this.#net = parts.net;
    this.#clock = parts.clock;
    this.#masterAddr = parts.masterAddr;
    this.offsetTable = parts.offsetTable;
  }

  start(onFatal: (error: unknown) => void): void {
    this.#loop = startLoop(async () => {
      const client = new RemotingClient({ net: this.#net, clock: this.#clock });
      while (this.#running) {
        await this.#syncConsumerOffset(client);
        await this.#wake.wait(this.#clock, INTERVAL_MS);
      }
      client.close();
    }, onFatal);
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#wake.notify();
    await this.#loop;
  }

  async #syncConsumerOffset(client: RemotingClient): Promise<void> {
    try {
      const answer = await client.invoke(this.#masterAddr, createRequest(RequestCode.GET_ALL_CONSUMER_OFFSET), 3000);
      const body = parseJavaJson(utf8.decode(answer.body));
      const table = isJavaJsonObject(body) ? body.offsetTable : undefined;
      if (!isJavaJsonObject(table)) return;
      for (const [key, offsets] of Object.entries(table)) this.offsetTable.set(key, offsetsText(offsets));
      this.copies++;
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
    }
  }
}

/** Queue 0's offset. */
function offsetsText(offsets: unknown): string {
  if (offsets instanceof Map) return String([...offsets.values()][0]);
  return String(Object.values(offsets as Record<string, unknown>)[0]);
}
