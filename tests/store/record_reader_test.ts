// Records read together into memory that was used before: nothing of before may be left in what is answered.

import assert from "node:assert/strict";
import process from "node:process";
import { describe, it } from "node:test";
import { sleep } from "../../src/base/async.ts";
import { giveBuffer, takeBuffer } from "../../src/base/buffer_pool.ts";
import { SYSTEM_CLOCK } from "../../src/runtime/system_clock.ts";
import { RecordReader } from "../../src/store/record_reader.ts";

const SIZE = 3000;
const LOG = new Uint8Array(100_000).map((_, index) => index % 251 + 1);

/** A log that ends at `end`, surely in the page cache, or not; or as it turns out, up to `cachedEnd`. */
function logUntil(end: number, isHot: boolean, cachedEnd = 0) {
  const read = (pos: number, target: Uint8Array): number => {
    const bytes = LOG.subarray(pos, Math.max(pos, Math.min(pos + target.length, end)));
    target.set(bytes);
    return bytes.length;
  };
  return {
    mappedFileSize: LOG.length,
    isHot: () => isHot,
    readRecord: () => null,
    readCached(pos: number, target: Uint8Array) {
      const cached = Math.min(end, cachedEnd);
      const isCached = pos + target.length <= cached;
      // Also where it gives up it may have begun.
      read(pos, target.subarray(0, isCached ? target.length : Math.max(0, cached - pos)));
      return isCached;
    },
    read: (pos: number, target: Uint8Array) =>
      isHot ? read(pos, target) : Promise.resolve().then(() => read(pos, target)),
  } as unknown as ConstructorParameters<typeof RecordReader>[0];
}

function leaveTraces(size: number): void {
  const taken = Array.from({ length: 80 }, () => takeBuffer(size).fill(0xee));
  for (const bytes of taken) giveBuffer(bytes);
}

describe("RecordReader", () => {
  for (const how of ["hot", "cold", "cached", "half cached"]) {
    for (const gap of [0, 500, 5000]) {
      it(`leaves zeros where it reads none, ${how}, ${gap} bytes between records`, async () => {
        const cachedEnd = how === "cached" ? Infinity : how === "half cached" ? 7000 : 0;
        const positions = [0, 1, 2, 3].map((index) => index * (SIZE + gap));
        const places = { positions, sizes: positions.map(() => SIZE) };
        for (const end of [0, 1000, positions[2]!, positions[2]! + 100, positions[3]! + SIZE]) {
          leaveTraces(4 * SIZE);
          const { bytes, isWhole } = await new RecordReader(logUntil(end, how === "hot", cachedEnd)).read(
            places,
            4 * SIZE,
          );
          assert.equal(bytes.length, 4 * SIZE);
          assert.equal(isWhole, end === positions[3]! + SIZE);
          for (const [index, pos] of positions.entries()) {
            const record = bytes.subarray(index * SIZE, (index + 1) * SIZE);
            const isThere = pos + SIZE <= end;
            if (isThere) assert.deepEqual(record, LOG.subarray(pos, pos + SIZE));
            else {assert.ok(
                record.every((byte, at) => byte === 0 || byte === LOG[pos + at]),
                `record ${index}, end ${end}`,
              );}
          }
          giveBuffer(bytes);
        }
      });
    }
  }

  it("does not leave the event loop for what the page cache turns out to hold, and reads no gaps along then", () => {
    const positions = [0, 1, 2].map((index) => index * (SIZE + 5000));
    const log = logUntil(LOG.length, false, Infinity);
    const sizes: number[] = [];
    const readCached = log.readCached.bind(log);
    log.readCached = (pos, target) => {
      sizes.push(target.length);
      return readCached(pos, target);
    };
    const read = new RecordReader(log).read({ positions, sizes: positions.map(() => SIZE) }, 3 * SIZE);
    assert.ok(!(read instanceof Promise));
    assert.deepEqual(sizes, [SIZE, SIZE, SIZE]);
  });

  it("leaves no failure unheard when one read fails at once while another is under way", async () => {
    const places = { positions: [0, 90_000], sizes: [SIZE, SIZE] };
    const log = {
      ...logUntil(LOG.length, false),
      isHot: (pos: number) => pos >= 90_000,
      read(pos: number) {
        if (pos >= 90_000) throw new Error("at once");
        return Promise.reject(new Error("later"));
      },
    } as unknown as ConstructorParameters<typeof RecordReader>[0];
    const unheard: unknown[] = [];
    const onUnheard = (error: unknown) => void unheard.push(error);
    process.on("unhandledRejection", onUnheard);
    try {
      await assert.rejects(async () => await new RecordReader(log).read(places, 2 * SIZE), /later|at once/);
      await sleep(SYSTEM_CLOCK, 10);
      assert.deepEqual(unheard, []);
    } finally {
      process.off("unhandledRejection", onUnheard);
    }
  });
});
