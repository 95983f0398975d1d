// Every target, for guided.ts.

import type { FuzzTarget } from "../fuzz.ts";
import * as admin from "./admin.ts";
import * as clients from "./clients.ts";
import * as config from "./config.ts";
import * as frames from "./ha_frames.ts";
import * as machines from "./ha_machines.ts";
import * as json from "./java_json.ts";
import * as namesrv from "./namesrv.ts";
import * as records from "./records.ts";
import * as remoting from "./remoting.ts";
import * as sql92 from "./sql92.ts";
import * as files from "./store_files.ts";

/** By name. */
export const TARGETS: ReadonlyMap<string, FuzzTarget> = new Map(
  [frames, machines, remoting, json, records, files, config, admin, clients, sql92, namesrv].flatMap((module) =>
    Object.values(module)
  )
    .filter((each): each is FuzzTarget => typeof each === "object" && "check" in each && "inputs" in each)
    .map((target) => [target.name, target]),
);
