// Fuzzing of what a NameServer is sent, and of its file.

import { fuzz } from "./fuzz.ts";
import { KV_FILE, REGISTRATION, REQUESTS } from "./targets/namesrv.ts";

for (const target of [REGISTRATION, REQUESTS, KV_FILE]) fuzz(target);
