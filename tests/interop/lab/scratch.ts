// A scratch directory per test file, removed afterwards together with every process still running.

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after } from "node:test";
import { destroyAll } from "./processes.ts";

/** Makes the directory and registers the clean-up. `TWINLOG_KEEP=1` keeps it, and says where it is. */
export function scratch(name: string): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), `twinlog-${name}-`));
  after(async () => {
    await destroyAll();
    if (process.env.TWINLOG_KEEP) console.log(`kept ${directory}`);
    else fs.rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}
