// The table of docs/guarantees.md, cell by cell: over several seeds, moments and ways to lose power, never more is
// missing than the cell allows; and where it allows a loss, a history that has it exists, so that the table is not
// over-cautious either. Whole nodes on simulated machines; the document has to agree with the table.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import type { CrashMode } from "../../src/runtime/simulated/mod.ts";
import { endOf } from "./checkers.ts";
import {
  BEGIN,
  type Cell,
  cellName,
  cells,
  END,
  type Expectation,
  expectationOf,
  type Loss,
  renderGuarantees,
} from "./guarantees.ts";
import { CRASH_MODES, type History, type Moment, MOMENTS, runHistory } from "./guarantees_run.ts";
import type { PutRecord } from "./workload.ts";

/** More histories of every cell, for a longer run. */
const ROUNDS = Number(process.env.TWINLOG_GUARANTEES_ROUNDS ?? 1);
/** Histories at most that look for a loss which the table allows and none of the others had. */
const SEEK_MAX = 20;
const COLUMNS = ["restarted", "promoted", "promotedAfterPowerCut"] as const;

/** Every put that is missing may be, and none is there that was put behind it. */
function checkLoss(where: string, loss: Loss, lost: readonly PutRecord[], history: History): void {
  const mayBeLost = (end: number): boolean => {
    switch (loss) {
      case "nothing":
        return false;
      case "unflushed":
        return end > history.masterOldOffset;
      case "unreplicated":
        return end > history.ackedOffset;
      case "slaveUnflushed":
        return end > history.slaveOldOffset;
      case "unreplicatedOrUnflushed":
        return end > history.ackedOffset || end > history.slaveOldOffset;
      case "everything":
        return true;
    }
  };
  for (const put of lost) assert.ok(mayBeLost(endOf(put)), `${where}: put ${put.id}, ending at ${endOf(put)}, is lost`);
  const lostFrom = lost.length === 0 ? Infinity : Math.min(...lost.map(endOf));
  const kept = history.promised.filter((put) => !lost.includes(put));
  for (const put of kept) assert.ok(endOf(put) < lostFrom, `${where}: put ${put.id} is there, one before it is lost`);
}

type Column = keyof Expectation;

/** A cell's histories, and how many messages were lost in all, by who serves afterwards. */
class CellRun {
  readonly lost: Record<Column, number> = { restarted: 0, promoted: 0, promotedAfterPowerCut: 0 };
  readonly #cell: Cell;
  readonly #expected: Expectation;
  #seed: number;

  constructor(cell: Cell, seed: number) {
    this.#cell = cell;
    this.#expected = expectationOf(cell);
    this.#seed = seed;
  }

  /** Every moment, with the master failing alone and with the slave. */
  async round(): Promise<void> {
    for (const moment of MOMENTS) {
      for (const both of [false, true]) {
        // Dropping all that is not synced is the worst there is for it, so it is in every column.
        await this.#history(moment, moment === "steady" ? "drop" : CRASH_MODES[this.#seed % CRASH_MODES.length], both);
      }
    }
  }

  /** Columns that may lose something, and have not. */
  get unwitnessed(): Column[] {
    return COLUMNS.filter((column) => this.#expected[column] !== "nothing" && this.lost[column] === 0);
  }

  /** Looks on for losses not seen yet. */
  async seek(): Promise<void> {
    const isBoth = this.unwitnessed.includes("promotedAfterPowerCut");
    await this.#history(MOMENTS[this.#seed % MOMENTS.length]!, "drop", isBoth);
  }

  async #history(moment: Moment, mode: CrashMode | undefined, both: boolean): Promise<void> {
    const seed = this.#seed++;
    const history = await runHistory({ cell: this.#cell, seed, moment, mode, both });
    const where = `seed ${seed}, ${moment}, ${mode ?? "mixed"}${both ? ", both" : ""}`;
    const column = both ? "promotedAfterPowerCut" : "promoted";
    checkLoss(`${where}, restarted`, this.#expected.restarted, history.lostRestarted, history);
    checkLoss(`${where}, promoted`, this.#expected[column], history.lostPromoted, history);
    this.lost.restarted += history.lostRestarted.length;
    this.lost[column] += history.lostPromoted.length;
  }
}

describe("guarantees", () => {
  for (const [index, cell] of cells().entries()) {
    it(cellName(cell), async () => {
      const run = new CellRun(cell, 10_000 * index);
      for (let round = 0; round < ROUNDS; round++) await run.round();
      for (let more = 0; more < SEEK_MAX && run.unwitnessed.length > 0; more++) await run.seek();
      assert.deepEqual(run.unwitnessed, [], "Something may be lost, but nothing ever was");
    });
  }

  it("are what docs/guarantees.md says", () => {
    const document = readFileSync(new URL("../../docs/guarantees.md", import.meta.url), "utf8");
    const [begin, end] = [document.indexOf(BEGIN!), document.indexOf(END!)];
    assert.ok(begin >= 0 && end > begin, "The document lacks the marks of its generated part");
    assert.equal(document.slice(begin + BEGIN!.length, end).trim(), renderGuarantees());
  });
});
