// Picks the adapter of the runtime we run on, once, by dynamic import, so that no adapter is loaded that isn't used.

import type { Runtime } from "./runtime.ts";

/** The {@link Runtime} of this process: Deno's, Bun's or Node's. */
export async function loadRuntime(): Promise<Runtime> {
  if ("Deno" in globalThis) return (await import("./deno.ts")).createDenoRuntime();
  if ("Bun" in globalThis) return (await import("./bun.ts")).createBunRuntime();
  return (await import("./node.ts")).createNodeRuntime();
}
