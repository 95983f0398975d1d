// How fast one HA connection moves bytes, and how fast it may. Pure: the time comes with every call, nothing runs in
// the background. The connection asks for its budget before a frame and for the next window when the budget is spent.

import { TRANSFER_HEADER_SIZE } from "./frames.ts";

/** Length of a window, ms. */
const WINDOW_MS = 1000;

/** The keys a {@link FlowMonitor} reads, live. */
export interface FlowMonitorOptions {
  readonly haFlowControlEnable: boolean;
  /** Bytes per second; values below 13 count as 13, so that a frame can always move a byte. */
  readonly maxHaTransferByteInSecond: number;
}

/**
 * Counts bytes in windows of one second. Mirrors Apache's `FlowMonitor`, but whole frames are counted on the master,
 * where Apache counts their 12 header bytes only and so limits next to nothing.
 */
export class FlowMonitor {
  readonly #options: FlowMonitorOptions;
  #windowStart: number;
  #transferred = 0;
  #transferredByteInSecond = 0;

  /** `now` is monotonic, ms, here and below. */
  constructor(options: FlowMonitorOptions, now: number) {
    this.#options = options;
    this.#windowStart = now;
  }

  /** Counts bytes moved. */
  add(bytes: number, now: number): void {
    this.#roll(now);
    this.#transferred += bytes;
  }

  /** Bytes that may still move in this window. */
  budget(now: number): number {
    if (!this.#options.haFlowControlEnable) return Number.MAX_SAFE_INTEGER;
    this.#roll(now);
    const limit = Math.max(this.#options.maxHaTransferByteInSecond, TRANSFER_HEADER_SIZE + 1);
    return Math.max(limit - this.#transferred, 0);
  }

  /** When the budget is full again, monotonic ms. */
  nextWindow(now: number): number {
    this.#roll(now);
    return this.#windowStart + WINDOW_MS;
  }

  /** Bytes moved in the last whole window. */
  transferredByteInSecond(now: number): number {
    this.#roll(now);
    return this.#transferredByteInSecond;
  }

  #roll(now: number): void {
    const windows = Math.floor((now - this.#windowStart) / WINDOW_MS);
    if (windows <= 0) return;
    this.#transferredByteInSecond = windows === 1 ? this.#transferred : 0;
    this.#transferred = 0;
    this.#windowStart += windows * WINDOW_MS;
  }
}
