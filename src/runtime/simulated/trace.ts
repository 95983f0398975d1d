// The record of what a world released: a running 64-bit hash over every event, and the last lines for a failure report.
// Two runs of one seed must have the same hash on Deno, Bun and Node; a difference means chance got in from outside.

/** The event trace. */
export class Trace {
  #high = 0x811c9dc5;
  #low = 0x9747b28c;
  #count = 0;
  readonly #lines: string[] = [];
  readonly #linesMax: number;

  /** Keeps the last `linesMax` lines. */
  constructor(linesMax: number) {
    this.#linesMax = linesMax;
  }

  /** How many events were recorded. */
  get count(): number {
    return this.#count;
  }

  /** 16 hex digits over everything recorded so far. */
  get hash(): string {
    return hex(this.#high) + hex(this.#low);
  }

  /** The last lines, oldest first: world time in microseconds, what, on which host, detail. */
  get lines(): readonly string[] {
    return this.#linesMax === 0 ? [] : this.#lines.slice(-this.#linesMax);
  }

  /** Adds one event. */
  record(nowUs: number, kind: string, hostName: string, detail: number): void {
    this.#count++;
    this.#mixNumber(nowUs);
    this.#mixText(kind);
    this.#mixText(hostName);
    this.#mixNumber(detail);
    if (this.#linesMax === 0) return;
    if (this.#lines.length >= this.#linesMax * 2) this.#lines.splice(0, this.#linesMax);
    this.#lines.push(`${nowUs} ${kind} ${hostName} ${detail}`);
  }

  #mixText(text: string): void {
    for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i));
    this.#mix(0x100);
  }

  #mixNumber(value: number): void {
    this.#mix(value >>> 0);
    this.#mix(Math.floor(value / 0x1_0000_0000) >>> 0);
  }

  #mix(word: number): void {
    this.#high = Math.imul(this.#high ^ word, 0x01000193) ^ (this.#low >>> 15);
    this.#low = Math.imul(this.#low ^ (word + 0x7f4a7c15), 0x85ebca6b) ^ (this.#high >>> 13);
  }
}

function hex(word: number): string {
  return (word >>> 0).toString(16).padStart(8, "0");
}
