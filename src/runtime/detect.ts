// Picks the adapter of the runtime we run on, once, by dynamic import, so that no adapter is loaded that isn't used.

import process from "node:process";
import { errorMessage } from "../base/errors.ts";
import type { Runtime } from "./runtime.ts";

/** The {@link Runtime} of this process: Deno's, Bun's or Node's. */
export async function loadRuntime(): Promise<Runtime> {
  if ("Deno" in globalThis) return (await import("./deno.ts")).createDenoRuntime();
  if ("Bun" in globalThis) return (await import("./bun.ts")).createBunRuntime();
  return (await import("./node.ts")).createNodeRuntime();
}

/** {@link loadRuntime} for a program, which ends here with one line and this code where it can't run. */
export async function loadRuntimeOrExit(code: number): Promise<Runtime> {
  try {
    return await loadRuntime();
  } catch (error) {
    console.error(`twinlog: ${errorMessage(error)}`);
    process.exit(code);
  }
}
