// Fuzzing of a store's files, one by one and as a whole.

import { fuzz } from "./fuzz.ts";
import { CHECKPOINT, CONSUME_QUEUE, DISPATCH, INDEX_FILE, NOTES, STORE } from "./targets/store_files.ts";

for (const target of [DISPATCH, CONSUME_QUEUE, INDEX_FILE, CHECKPOINT, NOTES, STORE]) fuzz(target);
