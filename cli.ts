#!/usr/bin/env node
// The program: arguments -> Config -> start. src/cli/main.ts holds the verbs; here is only the way in and the exit code.

import { runCli } from "./src/cli/main.ts";
import { loadRuntime } from "./src/runtime/detect.ts";

const runtime = await loadRuntime();
runtime.process.exit(await runCli(runtime));
