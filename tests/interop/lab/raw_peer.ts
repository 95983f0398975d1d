// A client of the remoting protocol spoken by hand, so that the tests lean on nothing of ours: requests in JSON headers on
// one connection, and what the broker asks on it is noted and answered.

import * as net from "node:net";
import { until } from "./processes.ts";

/** A frame's header and body. */
export interface RawCommand {
  readonly code: number;
  readonly flag: number;
  readonly opaque: number;
  readonly remark: string | null;
  readonly extFields: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** A request in words: values of the header become strings, an object as body becomes JSON. */
export interface RawRequest {
  readonly code: number;
  readonly ext?: Readonly<Record<string, string | number | boolean | undefined>>;
  readonly body?: string | Uint8Array | object;
  readonly version?: number;
}

/** What the peer answers to a request of the broker: code and body, or nothing. */
export type PushHandler = (push: RawCommand) => { readonly code: number; readonly body?: string } | null;

/** One connection. */
export class RawPeer {
  /** Requests of the broker, in order. */
  readonly pushes: RawCommand[] = [];
  readonly #socket: net.Socket;
  readonly #waiting = new Map<number, (answer: RawCommand | Error) => void>();
  readonly #onPush: PushHandler;
  #received = Buffer.alloc(0);
  #opaque = 1;

  private constructor(socket: net.Socket, onPush: PushHandler) {
    this.#socket = socket;
    this.#onPush = onPush;
    socket.on("data", (bytes) => this.#read(bytes));
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const settle of this.#waiting.values()) settle(new Error("The connection was closed"));
      this.#waiting.clear();
    });
  }

  /** Connects to `host:port`. */
  static connect(address: string, onPush: PushHandler = () => ({ code: 0 })): Promise<RawPeer> {
    const at = address.lastIndexOf(":");
    return new Promise((resolve, reject) => {
      const options = { host: address.slice(0, at), port: Number(address.slice(at + 1)), noDelay: true };
      const socket = net.connect(options, () => resolve(new RawPeer(socket, onPush)));
      socket.once("error", reject);
    });
  }

  /** Sends a request and waits for its answer; rejects when the connection is closed instead, or after `limitMs`. */
  call(request: RawRequest, limitMs = 10_000): Promise<RawCommand> {
    const opaque = this.#opaque++;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(opaque);
        reject(new Error(`No answer within ${limitMs} ms`));
      }, limitMs);
      this.#waiting.set(opaque, (answer) => {
        clearTimeout(timer);
        if (answer instanceof Error) reject(answer);
        else resolve(answer);
      });
      this.#socket.write(frameOf(request, { opaque, flag: 0 }));
    });
  }

  /** Sends a request that nobody answers. */
  oneway(request: RawRequest): void {
    this.#socket.write(frameOf(request, { opaque: this.#opaque++, flag: 2 }));
  }

  /** The next request of that code that the broker makes, or made since the last call for it. */
  async push(code: number, limitMs = 20_000): Promise<RawCommand> {
    const found = await until(`request ${code} of the broker`, limitMs, () => {
      const at = this.pushes.findIndex((one) => one.code === code);
      return at < 0 ? null : this.pushes.splice(at, 1)[0]!;
    });
    return found;
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    while (this.#received.length >= 4 && this.#received.length >= 4 + this.#received.readInt32BE(0)) {
      const end = 4 + this.#received.readInt32BE(0);
      this.#take(commandOf(this.#received.subarray(0, end)));
      this.#received = this.#received.subarray(end);
    }
  }

  #take(command: RawCommand): void {
    if ((command.flag & 1) !== 0) {
      const settle = this.#waiting.get(command.opaque);
      this.#waiting.delete(command.opaque);
      settle?.(command);
      return;
    }
    this.pushes.push(command);
    const answer = this.#onPush(command);
    if ((command.flag & 2) !== 0 || answer === null) return;
    const { code, body = "" } = answer;
    this.#socket.write(frameOf({ code, body }, { opaque: command.opaque, flag: 1 }));
  }
}

function frameOf(request: RawRequest, parts: { opaque: number; flag: number }): Buffer {
  const { code, ext = {}, body = "", version = 479 } = request;
  const fields = Object.entries(ext).filter((entry) => entry[1] !== undefined).map(([key, value]) => [key, `${value}`]);
  const extFields = Object.fromEntries(fields);
  const header = Buffer.from(JSON.stringify({
    code,
    extFields,
    ...parts,
    language: "JAVA",
    serializeTypeCurrentRPC: "JSON",
    version,
  }));
  const bytes = typeof body === "string" || body instanceof Uint8Array
    ? Buffer.from(body)
    : Buffer.from(JSON.stringify(body));
  const lengths = Buffer.alloc(8);
  lengths.writeInt32BE(4 + header.length + bytes.length, 0);
  lengths.writeInt32BE(header.length, 4);
  return Buffer.concat([lengths, header, bytes]);
}

function commandOf(frame: Buffer): RawCommand {
  const headerSize = frame.readInt32BE(4) & 0xff_ffff;
  const header = JSON.parse(frame.toString("utf8", 8, 8 + headerSize));
  return {
    code: header.code,
    flag: header.flag ?? 0,
    opaque: header.opaque,
    remark: header.remark ?? null,
    extFields: header.extFields ?? {},
    body: Buffer.from(frame.subarray(8 + headerSize)),
  };
}
