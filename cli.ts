#!/usr/bin/env node
// The program: arguments -> Config -> start. src/cli/main.ts holds the verbs; here is only the way in and the exit code.

import { EXIT, runCli } from "./src/cli/main.ts";
import { loadRuntimeOrExit } from "./src/runtime/detect.ts";

const runtime = await loadRuntimeOrExit(EXIT.wrongUse);
runtime.process.exit(await runCli(runtime));
