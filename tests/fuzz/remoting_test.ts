// Fuzzing of the remoting protocol: frames, headers, bodies, addresses.

import { fuzz } from "./fuzz.ts";
import { JAVA_JSON } from "./targets/java_json.ts";
import { ADDRESS, FRAMES, JSON_HEADER, PROXY_HEADER, ROCKETMQ_HEADER } from "./targets/remoting.ts";

for (const target of [FRAMES, JSON_HEADER, ROCKETMQ_HEADER, JAVA_JSON, ADDRESS, PROXY_HEADER]) fuzz(target);
