// Fuzzing of what consumers filter by.

import { fuzz } from "./fuzz.ts";
import { SQL92 } from "./targets/sql92.ts";

fuzz(SQL92);
