// The conformance suites on the simulated runtime: the simulation is only worth what its likeness to machines is. A
// world of its own for each test, from one seed; the world runs while the test's promise is open.

import { runClockConformance } from "./clock_suite.ts";
import type { Abilities, Conduct } from "./env.ts";
import { runFsConformance } from "./fs_suite.ts";
import { runHttpConformance } from "./http_suite.ts";
import { runNetConformance } from "./net_suite.ts";
import { SimulatedWorld } from "../../src/runtime/simulated/mod.ts";

const abilities: Abilities = { silentPeer: true, smallDisk: true, halfClose: true, lastWords: true };
const SMALL_DISK_BYTES = 2 * 1024 * 1024;
// As roomy as a real kernel: a test writes 1 MiB that nobody reads yet.
const NETWORK = { sendBufferSize: 1024 * 1024, receiveBufferSize: 1024 * 1024 };
const DIRECTORY = "/tmp/test";

const conduct: Conduct = async (body) => {
  const world = new SimulatedWorld(20_240_601, { network: NETWORK });
  const host = world.host("self");
  const { runtime } = host;
  runtime.fs.makeDirectory(DIRECTORY);
  const running = body({
    runtime,
    hostname: "127.0.0.1",
    directory: DIRECTORY,
    fetch: (url, init) => world.fetch(host, new Request(url, init)),
    silentPeer: async () => {
      const peer = world.host("silent");
      world.network.isolate("silent");
      return { hostname: peer.address, port: 10_912, release: async () => world.network.heal() };
    },
    smallDiskDirectory: () => {
      host.disk.options.capacityBytes = SMALL_DISK_BYTES;
      return DIRECTORY;
    },
  });
  await world.drive(running);
};

runClockConformance("simulated", conduct);
runFsConformance("simulated", conduct, abilities);
runNetConformance("simulated", conduct, abilities);
runHttpConformance("simulated", conduct);
