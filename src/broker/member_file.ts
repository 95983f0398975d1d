// config/twinlogMembers.json: where the other brokers of this one's name were last seen. A master asks them before it takes
// its first put, when the NameServer has just started itself and knows nobody. A hint only: no start fails for it.

import { replaceFileDurably } from "../base/durable_directory.ts";
import { errorMessage, IoError } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
import type { Logger } from "../base/logger.ts";
import { parseRemotingAddress } from "../remoting/remoting_address.ts";
import type { FileSystem } from "../runtime/runtime.ts";

/** Addresses that are kept, those seen last. */
const ADDRESSES_MAX = 16;

/** Reads and writes the file. */
export class MemberFile {
  readonly #path: string;
  readonly #fs: FileSystem;
  readonly #logger: Logger;
  #addresses: readonly string[];

  /** `directory` is the store's `config/`. */
  constructor({ fs, directory, logger }: { fs: FileSystem; directory: string; logger: Logger }) {
    this.#fs = fs;
    this.#logger = logger;
    this.#path = `${directory}/twinlogMembers.json`;
    this.#addresses = this.#load();
  }

  /** Remoting `host:port`, those of the last change first; at most 16. */
  get addresses(): readonly string[] {
    return this.#addresses;
  }

  /** Members that were seen now. The file is written, blocking, when there are new ones among them. */
  add(seen: readonly string[]): void {
    if (seen.slice(0, ADDRESSES_MAX).some((address) => !this.#addresses.includes(address))) {
      this.#save([...seen, ...this.#addresses]);
    }
  }

  /** A broker of another name, or of another cluster, answers there by now. */
  remove(address: string): void {
    if (this.#addresses.includes(address)) this.#save(this.#addresses.filter((one) => one !== address));
  }

  #save(addresses: readonly string[]): void {
    this.#addresses = [...new Set(addresses)].slice(0, ADDRESSES_MAX);
    try {
      const text = JSON.stringify({ addresses: this.#addresses }, null, 2) + "\n";
      replaceFileDurably(this.#fs, this.#path, utf8.encode(text));
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.#logger.warn("Can't save where the brokers of this name are", { error: errorMessage(error) });
    }
  }

  #load(): readonly string[] {
    try {
      const bytes = this.#fs.readFile(this.#path);
      if (bytes === null) return [];
      const { addresses } = JSON.parse(utf8.decode(bytes)) as { addresses: unknown[] };
      const isAddress = (one: unknown): one is string => typeof one === "string" && parseRemotingAddress(one) !== null;
      return addresses.filter(isAddress).slice(0, ADDRESSES_MAX);
    } catch (error) {
      const fields = { path: this.#path, error: errorMessage(error) };
      this.#logger.warn("Can't read where the brokers of this name were; going on without", fields);
      return [];
    }
  }
}
