// Fuzzing of configuration: files, changes at run time, tables.

import { fuzz } from "./fuzz.ts";
import { BROKER_CONF, CONFIG_FILES, CONFIG_PATCH, PEER_NETWORKS, PROPERTIES_FILE } from "./targets/config.ts";

for (const target of [PROPERTIES_FILE, BROKER_CONF, CONFIG_PATCH, CONFIG_FILES, PEER_NETWORKS]) fuzz(target);
