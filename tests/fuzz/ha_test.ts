// Fuzzing of replication: both directions of the HA wire and the state machines behind them.

import { fuzz } from "./fuzz.ts";
import { REPORT, TRANSFER } from "./targets/ha_frames.ts";
import { CLIENT, CONNECTION } from "./targets/ha_machines.ts";

for (const target of [REPORT, TRANSFER, CONNECTION, CLIENT]) fuzz(target);
