// The command line's side of the admin API: requests by fetch, errors a person can act on, the event stream. It knows no
// verb.

import type { NodeStatus } from "../admin/admin_port.ts";
import { ConfigError } from "../base/errors.ts";
import { readAdminToken } from "../config/admin_access.ts";
import { parseHostPort } from "../config/setting.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** Where a node's admin API is looked for when nothing is said: the default master's. */
export const DEFAULT_ADMIN = "127.0.0.1:10913";
const TIMEOUT_MS = 60_000;

/** The node answered with a refusal. */
export class AdminError extends Error {
  override readonly name = "AdminError";
  /** HTTP status. */
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** One node's admin API. */
export class AdminClient {
  /** `host:port`, for messages. */
  readonly address: string;
  readonly #token: string | null;
  readonly #send: typeof fetch;
  readonly #flag: string;

  /** `send` stands in for fetch in tests; `flag` is the one that named the address. */
  constructor(address: string, token: string | null, send: typeof fetch = fetch, flag = "--admin") {
    this.address = address;
    this.#token = token;
    this.#send = send;
    this.#flag = flag;
  }

  /**
   * One request; the answer's JSON. Throws {@link AdminError} for a refusal whose status is not in `accept`, and an
   * Error that says what to do when nothing answers.
   */
  async request<T>(method: string, path: string, options: { body?: unknown; accept?: number[] } = {}): Promise<T> {
    const body = options.body === undefined ? {} : { body: JSON.stringify(options.body) };
    const response = await this.#fetch(path, { method, ...body, signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = await response.text();
    if (!response.ok && !options.accept?.includes(response.status)) {
      throw new AdminError(
        response.status,
        `${this.address} refuses ${method} ${path}: ${inFlags(reasonOf(text), response.status)} (${response.status})`,
      );
    }
    return JSON.parse(text);
  }

  /** `GET /ha`. */
  status(): Promise<NodeStatus> {
    return this.request("GET", "/ha");
  }

  /** `GET /events`: figures once a second and at each change, until the node ends the stream. */
  async *events(): AsyncGenerator<NodeStatus> {
    const response = await this.#fetch("/events", {});
    if (!response.ok) {
      const reason = inFlags(reasonOf(await response.text()), response.status);
      throw new AdminError(response.status, `${this.address} refuses GET /events: ${reason} (${response.status})`);
    }
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for await (const chunk of response.body!) {
        const events = (rest + decoder.decode(chunk, { stream: true })).split("\n\n");
        rest = events.pop()!;
        for (const event of events) {
          const data = event.split("\n").find((line) => line.startsWith("data: "));
          if (data !== undefined) yield JSON.parse(data.slice(6));
        }
      }
    } catch (error) {
      // A connection that is cut ends the stream too, each runtime with an error of its own.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  /** fetch with the token, and an error that says what to do when nobody answers. */
  async #fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = new Headers();
    if (init.body !== undefined) headers.set("content-type", "application/json");
    if (this.#token !== null) headers.set("authorization", `Bearer ${this.#token}`);
    try {
      return await this.#send(`http://${this.address}${path}`, { ...init, headers });
    } catch (error) {
      // What the runtime says of it differs with each of them and helps nobody; it stays as the cause.
      throw new Error(
        `No admin API answers at ${this.address}: start a node there, or name its admin address by ${this.#flag} HOST:PORT`,
        { cause: error },
      );
    }
  }
}

/** The client for an address as typed after `flag`: `HOST:PORT`, or a URL of one. Throws {@link ConfigError}. */
export function adminClient(
  runtime: Runtime,
  address: string,
  tokenFile: string | null,
  flag = "--admin",
): AdminClient {
  const plain = address.replace(/^http:\/\//, "").replace(/\/+$/, "");
  if (parseHostPort(plain) === null) throw new ConfigError(`${flag} is "${address}", wanted HOST:PORT`);
  const sources = { env: runtime.process.env, readFile: (path: string) => runtime.fs.readFile(path) };
  return new AdminClient(plain, readAdminToken(tokenFile, sources), fetch, flag);
}

/** The API's reason with the flags that do what it asks for. */
function inFlags(reason: string, status: number): string {
  const text = reason.replace("give force", "give force (--force)")
    .replace("needs masterAddress", "needs masterAddress (--master HOST:PORT)");
  return status === 401 ? `${text}: give --admin-token-file FILE, or set TWINLOG_ADMIN_TOKEN` : text;
}

function reasonOf(text: string): string {
  try {
    const answer = JSON.parse(text);
    return answer.error ?? [answer.status, answer.remark].filter(Boolean).join(", ");
  } catch {
    return text.slice(0, 200) || "no reason given";
  }
}
