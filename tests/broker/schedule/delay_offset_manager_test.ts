// delayOffset.json: Apache's format, and what of the table is told to slaves.

import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { DelayOffsetManager } from "../../../src/broker/schedule/delay_offset_manager.ts";
import { javaJsonObject, parseJavaJson } from "../../../src/remoting/java_json.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { temporaryDirectory } from "../../support/store_fixtures.ts";

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
const clock = new ManualClock();

beforeEach(async () => {
  place = await temporaryDirectory();
});

afterEach(() => place.remove());

function manager(step = 200): DelayOffsetManager {
  const { fs, path: directory } = place;
  const config = { delayOffsetUpdateVersionStep: step };
  const made = new DelayOffsetManager({ fs, clock, logger: SILENT_LOGGER, directory, config });
  made.load();
  return made;
}

function file(): string {
  return new TextDecoder().decode(place.fs.readFile(`${place.path}/delayOffset.json`)!);
}

describe("DelayOffsetManager", () => {
  it("writes Apache's format and reads it back, bare and quoted keys alike", async () => {
    const offsets = manager();
    offsets.updateOffset(1, 7);
    offsets.updateOffset(18, 3);
    await offsets.save(offsets.snapshot(), 0);
    assert.equal(
      file(),
      `{\n\t"dataVersion":{\n\t\t"counter":0,\n\t\t"stateVersion":0,\n\t\t"timestamp":${clock.now()}\n\t},\n` +
        '\t"offsetTable":{1:7,18:3\n\t}\n}',
    );
    assert.deepEqual([...manager().offsets], [[1, 7], [18, 3]]);
    place.fs.writeFile(
      `${place.path}/delayOffset.json`,
      new TextEncoder().encode('{"offsetTable":{"2":9,"x":1,"0":4,"3":-1}}'),
    );
    assert.deepEqual([...manager().offsets], [[2, 9]]);
  });

  it("moves the version once per so many deliveries", async () => {
    const offsets = manager(3);
    for (let i = 1; i <= 7; i++) offsets.updateOffset(1, i);
    await offsets.save(offsets.snapshot(), 0);
    assert.equal(offsets.dataVersion.counter, 2);
    for (let i = 8; i <= 9; i++) offsets.updateOffset(1, i);
    await offsets.save(offsets.snapshot(), 0);
    assert.equal(offsets.dataVersion.counter, 3);
  });

  it("tells slaves no more than what their logs hold", async () => {
    const offsets = manager();
    let replicated: number | null = 100;
    offsets.replicatedOffset = () => replicated;
    const told = () => offsets.documentForSlaves().offsetTable;
    const step = async (offset: number, logEnd: number) => {
      offsets.updateOffset(1, offset);
      await offsets.save(offsets.snapshot(), logEnd);
    };
    await step(1, 100);
    assert.deepEqual(told(), new Map([[1, 1]]));
    await step(2, 200);
    await step(3, 300);
    await step(4, 400);
    assert.deepEqual(told(), new Map([[1, 1]]));
    replicated = 250;
    assert.deepEqual(told(), new Map([[1, 2]]), "the oldest that waits is there first");
    replicated = 400;
    assert.deepEqual(told(), new Map([[1, 4]]));
    await step(5, 500);
    replicated = null;
    assert.deepEqual(told(), new Map([[1, 5]]), "nobody is behind when nobody follows");
  });

  it("takes over a master's table whole", () => {
    const offsets = manager();
    offsets.updateOffset(1, 7);
    const body = parseJavaJson('{"dataVersion":{"counter":3,"stateVersion":0,"timestamp":5},"offsetTable":{2:9}}');
    offsets.adopt(body as ReturnType<typeof javaJsonObject>);
    assert.deepEqual([...offsets.offsets], [[2, 9]]);
    assert.equal(offsets.dataVersion.counter, 3);
    assert.deepEqual(offsets.documentForSlaves(), offsets.document);
  });
});
