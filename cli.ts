#!/usr/bin/env node
// The program: arguments -> Config -> start. src/cli/main.ts holds the verbs; here is only the way in and the exit code.

import process from "node:process";
import { errorMessage } from "./src/base/errors.ts";
import { EXIT, runCli } from "./src/cli/main.ts";
import { loadRuntime } from "./src/runtime/detect.ts";

const runtime = await loadRuntime().catch((error: unknown) => {
  console.error(`twinlog: ${errorMessage(error)}`);
  process.exit(EXIT.wrongUse);
});
runtime.process.exit(await runCli(runtime));
