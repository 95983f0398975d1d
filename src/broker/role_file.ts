// config/twinlogRole.json: the role a node was switched to at run time, which wins over its flags at the next start. A
// promoted slave must not wake up demoted. Written atomically; a file that can't be read stops the start.

import { replaceFileDurably } from "../base/durable_directory.ts";
import { StoreError } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
import { quoted } from "../base/printable.ts";
import type { BrokerRole } from "../config/schema.ts";
import { parseRemotingAddress } from "../remoting/remoting_address.ts";
import type { FileSystem } from "../runtime/runtime.ts";

/** What is saved. */
export interface SavedRole {
  readonly brokerRole: BrokerRole;
  /** 0 for a master. */
  readonly brokerId: number;
  /** HA `host:port` a slave follows; null: what is configured or learned. */
  readonly masterAddress: string | null;
  /** When it was last promoted, Unix ms; 0: it never was. */
  readonly promotedAt: number;
}

const ROLES: readonly string[] = ["ASYNC_MASTER", "SYNC_MASTER", "SLAVE"];

/** Reads and writes the file. */
export class RoleFile {
  readonly path: string;
  readonly #fs: FileSystem;

  /** `directory` is the store's `config/`. */
  constructor(fs: FileSystem, directory: string) {
    this.#fs = fs;
    this.path = `${directory}/twinlogRole.json`;
  }

  /** The saved role, null when none was saved. Throws {@link StoreError} for a file that makes no sense. */
  load(): SavedRole | null {
    const bytes = this.#fs.readFile(this.path);
    if (bytes === null) return null;
    const role = parseRole(utf8.decode(bytes));
    if (typeof role !== "string") return role;
    throw new StoreError(
      `Can't read the saved role in "${this.path}": ${role}; remove the file, or start with --force-role`,
    );
  }

  /** Writes it durably. Throws {@link IoError}. */
  save(role: SavedRole): void {
    replaceFileDurably(this.#fs, this.path, utf8.encode(JSON.stringify(role, null, 2) + "\n"));
  }
}

/** The role, or what is wrong with the text. */
function parseRole(text: string): SavedRole | string {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return `it holds ${quoted(text, 40)}, wanted JSON`;
  }
  if (typeof parsed !== "object" || parsed === null) return `it holds ${quoted(text, 40)}, wanted an object`;
  const { brokerRole, brokerId, masterAddress = null, promotedAt = 0 } = parsed as Record<string, unknown>;
  if (typeof brokerRole !== "string" || !ROLES.includes(brokerRole)) return wrong("brokerRole", ROLES.join(", "));
  if (typeof brokerId !== "number" || !Number.isSafeInteger(brokerId) || brokerId < 0) {
    return wrong("brokerId", "0 or a positive whole number");
  }
  if (masterAddress !== null && (typeof masterAddress !== "string" || parseRemotingAddress(masterAddress) === null)) {
    return wrong("masterAddress", "HOST:PORT or null");
  }
  if (typeof promotedAt !== "number" || !Number.isSafeInteger(promotedAt) || promotedAt < 0) {
    return wrong("promotedAt", "Unix ms");
  }
  return { brokerRole: brokerRole as BrokerRole, brokerId, masterAddress, promotedAt };
}

function wrong(key: string, wanted: string): string {
  return `its ${key} makes no sense, wanted ${wanted}`;
}
