// The NameServer's KV configuration: values by namespace and key, all that it keeps over a restart. Changes count at once
// and are in the file, in Apache's format, before they are answered.

import { utf8 } from "../base/bytes.ts";
import { errorMessage, ProtocolError } from "../base/errors.ts";
import type { LogFields, Logger } from "../base/logger.ts";
import { isJavaJsonObject, parseJavaJson } from "../remoting/java_json.ts";
import type { FileSystem } from "../runtime/runtime.ts";
import { DurableFile } from "./durable_file.ts";

/** Namespace of ordered topics: `brokerName:queues;...` by topic. Mirrors Apache's `NamesrvUtil`. */
export const NAMESPACE_ORDER_TOPIC_CONFIG = "ORDER_TOPIC_CONFIG";

/** What a {@link KVConfigManager} needs. */
export interface KVConfigManagerOptions {
  readonly fs: FileSystem;
  readonly logger: Logger;
  readonly kvConfigPath: string;
  /** Characters of all namespaces, keys and values; each change writes them all. Unset: {@link KV_CHARACTERS_MAX}. */
  readonly charactersMax?: number;
}

/** A megabyte holds the order of 20,000 topics. */
export const KV_CHARACTERS_MAX = 4 * 1024 * 1024;

/** Mirrors Apache's `KVConfigManager`. */
export class KVConfigManager {
  readonly #options: KVConfigManagerOptions;
  readonly #file: DurableFile;
  readonly #namespaces = new Map<string, Map<string, string>>();
  #characters = 0;

  constructor(options: KVConfigManagerOptions) {
    this.#options = options;
    this.#file = new DurableFile(options.fs, options.kvConfigPath);
  }

  /** Reads the file; one that can't be read is said and taken as empty. */
  load(): void {
    const { logger, kvConfigPath } = this.#options;
    const { value, isBackup, errors } = this.#file.load(readTable);
    for (const error of errors) {
      logger.warn("Can't read the KV configuration", { path: kvConfigPath, error: errorMessage(error) });
    }
    if (isBackup) {
      logger.warn("Read the previous KV configuration, the current one is unusable", { path: kvConfigPath });
    }
    for (const [namespace, table] of value ?? []) {
      this.#namespaces.set(namespace, table);
      this.#characters += namespace.length;
      for (const [key, text] of table) this.#characters += key.length + text.length;
    }
  }

  /** Keys in all namespaces. */
  get size(): number {
    let size = 0;
    for (const table of this.#namespaces.values()) size += table.size;
    return size;
  }

  /** Every entry. */
  *entries(): Iterable<{ readonly namespace: string; readonly key: string; readonly value: string }> {
    for (const [namespace, table] of this.#namespaces) {
      for (const [key, value] of table) yield { namespace, key, value };
    }
  }

  getKVConfig(namespace: string, key: string): string | null {
    return this.#namespaces.get(namespace)?.get(key) ?? null;
  }

  /** null for a namespace that is unknown; one whose keys are all deleted stays known. */
  getKVListByNamespace(namespace: string): ReadonlyMap<string, string> | null {
    return this.#namespaces.get(namespace) ?? null;
  }

  /**
   * Whether there is room for the value, which then counts from here on; {@link persist} makes it last. Mirrors
   * `putKVConfig`, which has no bound.
   */
  putKVConfig(namespace: string, key: string, value: string): boolean {
    const { charactersMax = KV_CHARACTERS_MAX } = this.#options;
    const before = this.getKVConfig(namespace, key);
    let added = before === null ? key.length + value.length : value.length - before.length;
    if (!this.#namespaces.has(namespace)) added += namespace.length;
    if (added > 0 && this.#characters + added > charactersMax) return false;
    let table = this.#namespaces.get(namespace);
    if (table === undefined) this.#namespaces.set(namespace, table = new Map());
    table.set(key, value);
    this.#characters += added;
    return true;
  }

  /** Whether it was there. */
  deleteKVConfig(namespace: string, key: string): boolean {
    const before = this.getKVConfig(namespace, key);
    if (before === null) return false;
    this.#characters -= key.length + before.length;
    return this.#namespaces.get(namespace)!.delete(key);
  }

  /** Resolves once everything up to now is on the disk. Throws `IoError`. */
  persist(): Promise<void> {
    return this.#file.write(() => utf8.encode(writeTable(this.#namespaces)));
  }

  /** Resolves once no write is under way. */
  idle(): Promise<void> {
    return this.#file.idle();
  }

  /** One line of log per entry, as Apache's `printAllPeriodically`. */
  printAll(): void {
    const { logger } = this.#options;
    logger.info("KV configuration", { entries: this.size });
    for (const { namespace, key, value } of this.entries()) {
      logger.info("KV configuration", shownKV(namespace, key, value));
    }
  }
}

/** Characters of each part that a line of log shows. */
const SHOWN_MAX = 1000;

/** Fields of a log line about one entry. */
export function shownKV(namespace: string, key: string, value?: string): LogFields {
  const fields = { namespace: namespace.slice(0, SHOWN_MAX), key: key.slice(0, SHOWN_MAX) };
  return value === undefined ? fields : { ...fields, value: value.slice(0, SHOWN_MAX) };
}

/** Apache's `KVConfigSerializeWrapper`. */
function readTable(content: Uint8Array): Map<string, Map<string, string>> {
  const text = utf8.decode(content);
  const json = parseJavaJson(text);
  const table = isJavaJsonObject(json) ? json.configTable : null;
  if (!isJavaJsonObject(table)) throw new ProtocolError("The text has no configTable, wanted an object of that name");
  const namespaces = new Map<string, Map<string, string>>();
  for (const [namespace, values] of Object.entries(table)) {
    if (!isJavaJsonObject(values)) throw new ProtocolError("A namespace is no object, wanted one of texts");
    const entries = Object.entries(values).filter(([, value]) => value !== null && typeof value !== "object");
    namespaces.set(namespace, new Map(entries.map(([key, value]) => [key, String(value)])));
  }
  return namespaces;
}

function writeTable(namespaces: ReadonlyMap<string, ReadonlyMap<string, string>>): string {
  const configTable: Record<string, Record<string, string>> = Object.create(null);
  for (const [namespace, table] of namespaces) {
    const values: Record<string, string> = configTable[namespace] = Object.create(null);
    for (const [key, value] of table) values[key] = value;
  }
  return JSON.stringify({ configTable });
}
