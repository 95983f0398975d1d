// Fuzzing of what clients ask and tell.

import { fuzz } from "./fuzz.ts";
import { CLIENT_REQUESTS } from "./targets/clients.ts";

fuzz(CLIENT_REQUESTS);
