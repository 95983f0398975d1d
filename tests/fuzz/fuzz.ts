// The fuzzing loop. A target is a decoder with a property that must hold for any bytes at all; here are the inputs: the
// corpus (kept files, named by what they are, run every time), then random ones, valid input bent by small mutations.
// The targets are in targets/; guided.ts searches the same targets by coverage.
//
//   TWINLOG_FUZZ_SEED   an integer, or `random`; the seed is printed. Default 1, so that CI runs the same inputs.
//   TWINLOG_FUZZ_LAST   a file that gets every random input before it is tried: the one that hangs is in it.
//   TWINLOG_FUZZ_RUNS   a percentage of each target's own number of runs; default 100.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import fc from "fast-check";

/** A decoder under test. */
export interface FuzzTarget {
  /** Also the name of its folder in the corpus. */
  readonly name: string;
  /** Inputs worth bending: mostly valid ones. */
  readonly inputs: fc.Arbitrary<Uint8Array>;
  /** Random inputs per test run; set so that a target takes about half a second. */
  readonly runs: number;
  /** Throws when the property does not hold for these bytes. */
  readonly check: (input: Uint8Array) => void | Promise<void>;
}

const CORPUS = fileURLToPath(new URL("../fixtures/corpus", import.meta.url));

/** Seed and share of the runs, from the environment. */
export const SETTINGS = readSettings();

const LAST_FILE = process.env.TWINLOG_FUZZ_LAST;

/** Writes an input that is about to be tried where TWINLOG_FUZZ_LAST says. */
export function rememberInput(input: Uint8Array): void {
  if (LAST_FILE !== undefined) fs.writeFileSync(LAST_FILE, Buffer.from(input).toString("hex"));
}

function readSettings(): { seed: number; percent: number } {
  const { TWINLOG_FUZZ_SEED: seedText = "1", TWINLOG_FUZZ_RUNS: runsText = "100" } = process.env;
  const seed = seedText === "random" ? Math.floor(Math.random() * 2 ** 31) : Number(seedText);
  const percent = Number(runsText);
  assert.ok(Number.isInteger(seed), `TWINLOG_FUZZ_SEED is "${seedText}", wanted an integer or random`);
  assert.ok(percent > 0, `TWINLOG_FUZZ_RUNS is "${runsText}", wanted a percentage`);
  return { seed, percent };
}

/** The corpus of a target, by file name. `.hex` files are hex digits with `#` comments, all others the bytes themselves. */
export function corpusOf(name: string): Map<string, Uint8Array> {
  const directory = path.join(CORPUS, name);
  const inputs = new Map<string, Uint8Array>();
  if (!fs.existsSync(directory)) return inputs;
  for (const file of fs.readdirSync(directory).sort()) {
    const bytes = fs.readFileSync(path.join(directory, file));
    inputs.set(file, file.endsWith(".hex") ? fromHex(bytes.toString("latin1")) : new Uint8Array(bytes));
  }
  return inputs;
}

/** Where {@link corpusOf} reads the files of a target. */
export function corpusDirectory(name: string): string {
  return path.join(CORPUS, name);
}

/** Bytes of hex digits; white space and `#` comments are left out. */
export function fromHex(text: string): Uint8Array {
  const digits = text.replaceAll(/#.*$/gm, "").replaceAll(/\s+/g, "");
  assert.match(digits, /^([0-9a-fA-F]{2})*$/);
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

/** The tests of one target: its corpus, then random inputs. */
export function fuzz(target: FuzzTarget): void {
  const runs = Math.max(1, Math.ceil((target.runs * SETTINGS.percent) / 100));
  describe(`fuzz ${target.name}`, () => {
    it("holds for the corpus", async () => {
      const corpus = corpusOf(target.name);
      assert.ok(corpus.size > 0, `tests/fixtures/corpus/${target.name} is empty`);
      for (const [file, input] of corpus) {
        try {
          await target.check(input);
        } catch (error) {
          throw new Error(`corpus/${target.name}/${file}: ${error instanceof Error ? error.message : error}`, {
            cause: error,
          });
        }
      }
    });
    it(`holds for ${runs} random inputs, seed ${SETTINGS.seed}`, async () => {
      const property = fc.asyncProperty(bent(target.inputs), async (input) => {
        rememberInput(input);
        await target.check(input);
      });
      await fc.assert(property, { seed: SETTINGS.seed, numRuns: runs, reporter: (run) => report(target.name, run) });
    });
  });
}

/** Fails with the shrunk input as hex, ready for the corpus. */
function report(name: string, run: fc.RunDetails<[Uint8Array]>): void {
  if (!run.failed) return;
  const input = run.counterexample?.[0] ?? new Uint8Array(0);
  const cause = run.errorInstance;
  const reason = cause instanceof Error ? cause.message : String(cause);
  throw new Error(
    `${name}: ${reason}\nseed ${run.seed}, path ${run.counterexamplePath}, ${input.length} bytes for the corpus:\n` +
      Buffer.from(input).toString("hex"),
    { cause },
  );
}

/** Inputs with up to four small mutations; half stay as they are. */
export function bent(inputs: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const mutation = fc.tuple(fc.nat(), fc.nat(), fc.nat());
  const mutations = fc.oneof(fc.constant([]), fc.array(mutation, { minLength: 1, maxLength: 4 }));
  return fc.tuple(inputs, mutations).map(([input, list]) =>
    list.reduce((bytes, each) => mutate(bytes, ...each), input)
  );
}

/** Numbers at which decoders go wrong. */
const ODD_INT32 = [0, 1, -1, 7, 8, 20, 127, 128, 255, 256, 32767, 32768, 0x7fff_ffff, -0x8000_0000, 0x0100_0000];
const ODD_BYTES = [0x00, 0x01, 0x02, 0x09, 0x0a, 0x0d, 0x1b, 0x20, 0x22, 0x5c, 0x7f, 0x80, 0xc0, 0xef, 0xff];
const ODD_PARTS = [
  "__proto__",
  "constructor",
  "../",
  "\u0000",
  "\ufeff",
  "\ud83d\ude00",
  "\u2028",
  '"',
  "\\",
  "-0",
  "1e999",
];
const ODD_TEXTS = [...ODD_PARTS, "{", "}", "[", "]", ",", ":", "null", "\r\n", "\x1b[2J"].map((text) =>
  Buffer.from(text)
);

/** One mutation, chosen by three numbers. */
export function mutate(bytes: Uint8Array, kind: number, place: number, value: number): Uint8Array {
  const at = bytes.length === 0 ? 0 : place % bytes.length;
  const head = bytes.subarray(0, at);
  const size = value % 64;
  switch (kind % 9) {
    case 0:
      return replaced(bytes, at, Uint8Array.of(bytes[at]! ^ (1 << (value % 8))));
    case 1:
      return replaced(bytes, at, Uint8Array.of(ODD_BYTES[value % ODD_BYTES.length]!));
    case 2: {
      const number = new Uint8Array(4);
      new DataView(number.buffer).setInt32(0, ODD_INT32[value % ODD_INT32.length]!);
      return replaced(bytes, at, number);
    }
    case 3:
      return head;
    case 4:
      return joined(head, bytes.subarray(at + size));
    case 5:
      return joined(head, bytes.subarray(at, at + size), bytes.subarray(at));
    case 6:
      return joined(head, ODD_TEXTS[value % ODD_TEXTS.length]!, bytes.subarray(at));
    case 7:
      return joined(bytes, bytes.subarray(at));
    default: {
      const from = bytes.length === 0 ? 0 : value % bytes.length;
      return replaced(bytes, at, bytes.slice(from, from + 8));
    }
  }
}

function replaced(bytes: Uint8Array, at: number, part: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy.set(part.subarray(0, Math.max(0, bytes.length - at)), at);
  return copy;
}

function joined(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
