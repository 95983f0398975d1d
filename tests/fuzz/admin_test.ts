// Fuzzing of the admin API, of log lines, and of what another broker answers.

import { fuzz } from "./fuzz.ts";
import { ADMIN, LOG_LINE, MASTER_ANSWER } from "./targets/admin.ts";

for (const target of [ADMIN, LOG_LINE, MASTER_ANSWER]) fuzz(target);
