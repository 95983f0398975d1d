// config/delayOffset.json: how far each delay level is delivered. It owns the table in memory and what of it is in the
// file and told to slaves; ScheduleMessageService moves the offsets and says when to write.

import type { Config } from "../../config/schema.ts";
import { isJavaJsonObject, type JavaJsonObject, withIntegerKeys } from "../../remoting/java_json.ts";
import { ConfigManager, type ConfigManagerOptions, dataVersionJson } from "../config_manager.ts";

/** The offsets of one moment, and where the log ended that holds every message delivered until then. */
interface DelayOffsets {
  readonly document: JavaJsonObject;
  readonly logEnd: number;
}

/**
 * Delay level to next index of its queue. Mirrors the part of Apache's `ScheduleMessageService` that persists it. Unlike
 * there, the document (in the file, and told to slaves) may be behind the table in use, never ahead of the log: what a
 * crash takes of the log is then delivered again.
 */
export class DelayOffsetManager extends ConfigManager {
  /** Lowest log offset that the connected slaves hold, null without one. Set by who delivers. */
  replicatedOffset: () => number | null = () => null;
  readonly #config: Pick<Config, "delayOffsetUpdateVersionStep">;
  readonly #offsets = new Map<number, number>();
  /** Moves of an offset since the version went up. */
  #updates = 0;
  /** What slaves are told; null: the document. */
  #forSlaves: JavaJsonObject | null = null;
  /** Newer ones that wait to be in the slaves' logs: the oldest and the newest. */
  #waiting: DelayOffsets[] = [];

  constructor(
    options: ConfigManagerOptions & { readonly config?: Pick<Config, "delayOffsetUpdateVersionStep"> },
  ) {
    super("delayOffset.json", options);
    this.#config = options.config ?? { delayOffsetUpdateVersionStep: 200 };
  }

  override load(): "file" | "bak" | "empty" {
    const source = super.load();
    this.#readDocument();
    return source;
  }

  override replace(document: JavaJsonObject): void {
    super.replace(document);
    this.#readDocument();
  }

  /** Takes over a master's table (body of GET_ALL_DELAY_OFFSET) in one step. */
  adopt(body: JavaJsonObject): void {
    const { dataVersion, offsetTable } = body;
    this.replace(this.merged({ dataVersion, offsetTable: withIntegerKeys(offsetTable!) }));
  }

  /** Offsets in use, by level; what is delivered may be ahead of what {@link save} wrote. */
  get offsets(): ReadonlyMap<number, number> {
    return this.#offsets;
  }

  /** Moves a level on. Mirrors `updateOffset`. */
  updateOffset(level: number, offset: number): void {
    this.#offsets.set(level, offset);
    this.#updates++;
  }

  /** A copy of the table, to be {@link save}d once the log on the disk holds what it counts as delivered. */
  snapshot(): ReadonlyMap<number, number> {
    return new Map(this.#offsets);
  }

  /** Delivery begins: what an earlier master's life knew of the log means nothing now. */
  begin(): void {
    this.#forSlaves = null;
    this.#waiting = [];
  }

  /**
   * Makes a snapshot the document and writes it; `logEnd` is where the log ends that holds what was delivered by then.
   * Throws {@link IoError}.
   */
  save(offsets: ReadonlyMap<number, number>, logEnd: number): Promise<void> {
    const step = this.#config.delayOffsetUpdateVersionStep;
    const { counter, stateVersion, timestamp } = this.dataVersion;
    const steps = Math.floor(this.#updates / step);
    this.#updates -= steps * step;
    const dataVersion = dataVersionJson({
      stateVersion,
      counter: counter + steps,
      timestamp: steps > 0 ? this.options.clock.now() : timestamp,
    });
    this.#forSlaves ??= this.document;
    super.replace(this.merged({ dataVersion, offsetTable: new Map(offsets) }));
    this.#waiting.splice(1, 1, { document: this.document, logEnd });
    return this.persist();
  }

  /**
   * The document for a slave: the newest whose delivered messages the connected slaves hold, so that none of them skips,
   * once it is the master, a message that it never got.
   */
  documentForSlaves(): JavaJsonObject {
    const replicated = this.replicatedOffset() ?? Infinity;
    while (this.#waiting.length > 0 && this.#waiting[0]!.logEnd <= replicated) {
      this.#forSlaves = this.#waiting.shift()!.document;
    }
    return this.#forSlaves ?? this.document;
  }

  #readDocument(): void {
    this.#offsets.clear();
    this.begin();
    const table = this.table("offsetTable");
    const entries: [unknown, unknown][] = table instanceof Map
      ? [...table]
      : isJavaJsonObject(table)
      ? Object.entries(table)
      : [];
    for (const [key, value] of entries) {
      const level = Number(key);
      if (!Number.isInteger(level) || level < 1 || !Number.isSafeInteger(value) || (value as number) < 0) continue;
      this.#offsets.set(level, value as number);
    }
  }
}
