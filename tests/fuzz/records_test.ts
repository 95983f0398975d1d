// Fuzzing of what stands in the commit log.

import { fuzz } from "./fuzz.ts";
import { BATCH, INTAKE, MESSAGE_ID, PROPERTIES, RECORD } from "./targets/records.ts";

for (const target of [RECORD, INTAKE, PROPERTIES, BATCH, MESSAGE_ID]) fuzz(target);
