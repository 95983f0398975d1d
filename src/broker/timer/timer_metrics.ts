// config/timermetrics: how many messages wait for their time, by real topic. mqadmin reads it, and slaves copy it.

import { isJavaJsonObject, type JavaJsonObject, javaJsonObject } from "../../remoting/java_json.ts";
import { ConfigManager, type ConfigManagerOptions } from "../config_manager.ts";

interface Metric {
  count: number;
  /** Unix ms of the last change. */
  timeStamp: number;
}

/** Mirrors Apache's `TimerMetrics`. */
export class TimerMetrics extends ConfigManager {
  readonly #timingCount = new Map<string, Metric>();
  #isChanged = false;

  constructor(options: ConfigManagerOptions) {
    super("timermetrics", options);
  }

  override load(): "file" | "bak" | "empty" {
    const source = super.load();
    this.#readTable();
    return source;
  }

  /** So many messages more (or less) of a topic wait. Mirrors `addAndGet`. */
  add(topic: string, count: number): void {
    const metric = this.#timingCount.get(topic) ?? { count: 0, timeStamp: 0 };
    metric.count += count;
    metric.timeStamp = this.options.clock.now();
    this.#timingCount.set(topic, metric);
    this.#isChanged = true;
  }

  /** Messages of a topic that wait. */
  count(topic: string): number {
    return this.#timingCount.get(topic)?.count ?? 0;
  }

  /** Messages of all topics that wait. */
  get total(): number {
    let total = 0;
    for (const { count } of this.#timingCount.values()) total += count;
    return total;
  }

  /** A topic is deleted. */
  remove(topic: string): void {
    if (this.#timingCount.delete(topic)) this.#isChanged = true;
  }

  /** Takes over a master's table (body of GET_TIMER_METRICS) in one step. */
  adopt(body: JavaJsonObject): void {
    const { dataVersion, timingCount } = body;
    this.replace(this.merged({ dataVersion, timingCount }));
    this.#readTable();
  }

  /** Writes the table when it changed. Throws {@link IoError}. */
  async save(): Promise<void> {
    if (!this.#isChanged) return;
    this.#isChanged = false;
    const timingCount = javaJsonObject();
    for (const [topic, { count, timeStamp }] of this.#timingCount) {
      timingCount[topic] = javaJsonObject({ count, timeStamp });
    }
    this.replace(this.merged({ dataVersion: this.nextDataVersion(), timingCount }));
    await this.persist();
  }

  #readTable(): void {
    this.#timingCount.clear();
    const table = this.table("timingCount");
    if (!isJavaJsonObject(table)) return;
    for (const [topic, value] of Object.entries(table)) {
      const { count, timeStamp } = isJavaJsonObject(value) ? value : javaJsonObject();
      if (!Number.isSafeInteger(count)) continue;
      const time = Number.isSafeInteger(timeStamp) ? timeStamp as number : 0;
      this.#timingCount.set(topic, { count: count as number, timeStamp: time });
    }
  }
}
