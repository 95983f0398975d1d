import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConfigError } from "../../src/base/errors.ts";
import { applyConfigPatch, createConfig, flagName, loadConfig, parseConfigPatch } from "../../src/config/load.ts";
import type { LoadedConfig } from "../../src/config/load.ts";

const HOST = { hostname: "box", localAddress: "10.1.2.3", env: () => undefined };

function load(file: string | null, flags: Record<string, string> = {}, env: Record<string, string> = {}): LoadedConfig {
  return loadConfig({
    host: { ...HOST, env: (name) => env[name] },
    flags: new Map(Object.entries(flags)),
    ...(file === null ? {} : { file: { name: "broker.conf", bytes: new TextEncoder().encode(file) } }),
  });
}

const refusal = (pattern: RegExp) => (error: unknown) => error instanceof ConfigError && pattern.test(error.message);

describe("loadConfig: the two default lines", () => {
  it("puts a master on 10911 and what goes by it", () => {
    const { config, warnings } = load(null, { brokerRole: "master" });
    assert.deepEqual(warnings, []);
    assert.equal(config.brokerRole, "ASYNC_MASTER");
    assert.equal(config.brokerId, 0);
    assert.deepEqual([config.listenPort, config.vipListenPort, config.haListenPort], [10911, 10909, 10912]);
    assert.equal(config.adminAddress, "127.0.0.1:10913");
    assert.equal(config.storePathRootDir, "./data/10911");
    assert.equal(config.storePathCommitLog, "./data/10911/commitlog");
    assert.equal(config.haMasterAddress, null);
    assert.equal(config.brokerName, "box");
    assert.deepEqual([config.brokerIP1, config.brokerIP2], ["10.1.2.3", "10.1.2.3"]);
    assert.equal(config.haTransferBatchSize, null);
  });

  it("puts a slave on 11911, following the default master", () => {
    const { config } = load(null, { brokerRole: "slave" });
    assert.equal(config.brokerRole, "SLAVE");
    assert.equal(config.brokerId, 1);
    assert.deepEqual([config.listenPort, config.vipListenPort, config.haListenPort], [11911, 11909, 11912]);
    assert.equal(config.adminAddress, "127.0.0.1:11913");
    assert.equal(config.storePathRootDir, "./data/11911");
    assert.equal(config.haMasterAddress, "127.0.0.1:10912");
  });

  it("lets the default master step back once the key, NameServers, or their variable is given", () => {
    assert.equal(load(null, { brokerRole: "slave", haMasterAddress: "a:1" }).config.haMasterAddress, "a:1");
    assert.equal(load(null, { brokerRole: "slave", haMasterAddress: "none" }).config.haMasterAddress, null);
    assert.equal(load(null, { brokerRole: "slave", namesrvAddr: "a:9876;b:9876" }).config.haMasterAddress, null);
    const { config } = load(null, { brokerRole: "slave" }, { NAMESRV_ADDR: "n:9876" });
    assert.equal(config.haMasterAddress, null);
    assert.equal(config.namesrvAddr, "n:9876");
  });

  it("reads the short names of roles", () => {
    for (
      const [short, role] of [["master", "ASYNC_MASTER"], ["async-master", "ASYNC_MASTER"], [
        "sync-master",
        "SYNC_MASTER",
      ]]
    ) {
      assert.equal(load(null, { brokerRole: short! }).config.brokerRole, role);
    }
  });
});

describe("loadConfig: ports", () => {
  it("takes 0 on a flag as any free port, also for the ports that go by it", () => {
    const { config } = load(null, { listenPort: "0" });
    assert.deepEqual([config.listenPort, config.vipListenPort, config.haListenPort], [0, 0, 0]);
    assert.equal(config.adminAddress, "127.0.0.1:0");
    assert.equal(load(null, { haListenPort: "0" }).config.haListenPort, 0);
  });

  it("takes 0 and less in a file as listenPort + 1, as Apache does", () => {
    assert.equal(load("listenPort=20000\nhaListenPort=0").config.haListenPort, 20001);
    assert.equal(load("listenPort=20000\nhaListenPort=-5").config.haListenPort, 20001);
    assert.equal(load("listenPort=20000\nhaListenPort=30000").config.haListenPort, 30000);
  });

  it("refuses ports that clash, and derived ones out of range", () => {
    assert.throws(
      () => load("listenPort=20000\nhaListenPort=20000"),
      refusal(/haListenPort and listenPort are both 20000/),
    );
    const taken = refusal(/^namesrvListenPort and listenPort are both 23911, wanted different ports$/);
    assert.throws(() => load(null, { listenPort: "23911", namesrvListenPort: "23911" }), taken);
    const other = { listenPort: "23911", namesrvListenPort: "23911", namesrvAddr: "n:9876" };
    assert.equal(load(null, other).config.namesrvEnable, false);
    assert.throws(
      () => load(null, { listenPort: "1" }),
      refusal(/vipListenPort by default is listenPort - 2 = -1, wanted/),
    );
    assert.throws(
      () => load(null, { listenPort: "65535" }),
      refusal(/haListenPort by default is listenPort \+ 1 = 65536/),
    );
  });
});

describe("loadConfig: broker.conf", () => {
  it("reads an Apache file as it is, 4.x spellings included", () => {
    const { config, warnings } = load([
      "# comment",
      "brokerClusterName = DefaultCluster",
      "brokerName=broker-a",
      "brokerId=0",
      "deleteWhen=04",
      "fileReservedTime=48",
      "brokerRole=ASYNC_MASTER",
      "flushDiskType=ASYNC_FLUSH",
      "mapedFileSizeCommitLog=1048576",
      "mapedFileSizeConsumeQueue=300000",
      "haSlaveFallbehindMax=1000",
    ].join("\n"));
    assert.deepEqual(warnings, []);
    assert.equal(config.brokerName, "broker-a");
    assert.equal(config.fileReservedTime, 48);
    assert.equal(config.deleteWhen, "04");
    assert.equal(config.mappedFileSizeCommitLog, 1048576);
    assert.equal(config.mappedFileSizeConsumeQueue, 300000);
    assert.equal(config.haMaxGapNotInSync, 1000);
  });

  it("takes both spellings with one value, refuses two values", () => {
    assert.equal(load("haSlaveFallbehindMax=5\nhaMaxGapNotInSync=5").config.haMaxGapNotInSync, 5);
    assert.throws(
      () => load("haSlaveFallbehindMax=5\nhaMaxGapNotInSync=6"),
      refusal(/haSlaveFallbehindMax \(broker.conf, line 1\) is 5 and haMaxGapNotInSync \(broker.conf, line 2\) is 6/),
    );
  });

  it("lets flags win, also under another spelling", () => {
    const { config, sources } = load("haMaxGapNotInSync=5\nbrokerName=file", { haSlaveFallbehindMax: "7" });
    assert.equal(config.haMaxGapNotInSync, 7);
    assert.equal(sources.get("haMaxGapNotInSync"), "flag");
    assert.equal(sources.get("brokerName"), "file");
    assert.equal(sources.get("slaveTimeout"), "default");
  });

  it("warns of an unknown key with the nearest one", () => {
    const { warnings } = load("haSendHeartbeetInterval=1000\nzzz=1\nbrokerName=b");
    assert.deepEqual(warnings, [
      'Left out: broker.conf, line 1, key "haSendHeartbeetInterval" is unknown, did you mean "haSendHeartbeatInterval"?; ' +
      'line 2, key "zzz" is unknown',
    ]);
  });

  it("refuses a file of which it knows no line, but not an empty one", () => {
    assert.throws(() => load("[Unit]\nAfter=network.target\n"), refusal(/^broker.conf holds no key that is known/));
    assert.deepEqual(load("# nothing\n").warnings, []);
  });

  it("knows the paths that 4.x files give and no Apache broker reads", () => {
    const paths = "storePathConsumeQueue=/s/consumequeue/\nstorePathIndex=/s/index\nstoreCheckpoint=/s/checkpoint\n";
    const same = load(`storePathRootDir=/s\n${paths}abortFile=/s/abort`);
    assert.deepEqual([same.warnings, same.notes], [[], []]);
    const { warnings, notes } = load(`storePathRootDir=/s/\n${paths}abortFile=/s/index/abort`);
    assert.deepEqual(warnings, []);
    assert.deepEqual(notes, [
      'broker.conf: without effect, as in Apache: abortFile; the places below storePathRootDir "/s/" are fixed: abort',
    ]);
  });

  it("tells all wrong values at once, of file and flags", () => {
    assert.throws(
      () => load("fileReservedTime=x\naclEnable=true\nresync=true\nbrokerName=b", { listenPort: "y" }),
      refusal(/^fileReservedTime .*; aclEnable .*; resync .*flag only; --listen-port is "y", wanted .*$/),
    );
  });

  it("says one line about what is done differently, and one about all without effect", () => {
    const { warnings, notes } = load(
      "transientStorePoolEnable=true\nsendMessageThreadPoolNums=4\nqueryMessageThreadPoolNums=1",
    );
    assert.match(
      notes[0]!,
      /^transientStorePoolEnable \(broker.conf, line 1\) has no effect here, not needed: .*page cache/,
    );
    assert.equal(
      warnings[0],
      "broker.conf: without effect here: sendMessageThreadPoolNums, queryMessageThreadPoolNums",
    );
  });

  it("names with those what is done differently and asks for nothing", () => {
    const quiet = "transientStorePoolEnable=FALSE\nenableLmq=false\nwarmMapedFileEnable=true\nfilterServerNums=0\n";
    const { warnings } = load(`${quiet}popPollingSize=5\nenableMultiDispatch=true`);
    assert.deepEqual(warnings, [
      "enableMultiDispatch (broker.conf, line 6) has no effect here, not supported: only the message's own consume queue is written",
      "broker.conf: without effect here: transientStorePoolEnable, enableLmq, warmMapedFileEnable, filterServerNums, popPollingSize",
    ]);
  });

  it("refuses access control and TLS that would not be there", () => {
    for (const key of ["aclEnable", "authenticationEnabled", "authorizationEnabled"]) {
      const message = new RegExp(`^${key} \\(broker.conf, line 1\\) is "TRUE", wanted "false": access control is not`);
      assert.throws(() => load(`${key}=TRUE`), refusal(message));
      assert.deepEqual(load(`${key}=False `).warnings, []);
    }
    assert.throws(() => load("useTLS=true"), refusal(/^useTLS .* wanted "false": .* tlsEnable=true/));
  });

  it("refuses an escape that Java refuses", () => {
    assert.throws(() => load("brokerName=\\u12"), refusal(/^broker.conf, line 1 has "\\u12", wanted/));
  });

  it("refuses modes it doesn't have", () => {
    for (
      const line of [
        "enableControllerMode=true",
        "enableDLegerCommitLog=true",
        "duplicationEnable=true",
        "storeType=defaultRocksDB",
      ]
    ) {
      assert.throws(() => load(line), refusal(/wanted "(false|default)": .* supported/), line);
    }
    assert.deepEqual(load("enableControllerMode=false\nstoreType=default").warnings, []);
  });

  it("takes some settings as flags only", () => {
    assert.throws(
      () => load("resync=true"),
      refusal(/resync \(broker.conf, line 1\) is set, wanted it as a flag only/),
    );
    assert.equal(load(null, { resync: "true" }).config.resync, true);
  });
});

describe("loadConfig: refusals", () => {
  it("names what, the value seen and the value wanted", () => {
    assert.throws(
      () => load("haSendHeartbeatInterval=5s"),
      refusal(/^haSendHeartbeatInterval \(broker.conf, line 1\) is "5s", wanted a whole number from 1 to 2147483647$/),
    );
    assert.throws(
      () => load(null, { brokerRole: "boss" }),
      refusal(/^--broker-role is "boss", wanted one of .*slave.*SYNC_MASTER/),
    );
    assert.throws(
      () => load(null, { haTransferBatchSize: "4194293" }),
      refusal(/wanted a whole number from 1 to 4194292/),
    );
    assert.throws(
      () => load(null, { checkCRCOnRecover: "yes" }),
      refusal(/^--check-crc-on-recover is "yes", wanted true or false/),
    );
    assert.throws(() => load(null, { haMasterAddress: "host" }), refusal(/wanted HOST:PORT/));
    assert.throws(() => load(null, { haMasterAddress: "host:70000" }), refusal(/wanted HOST:PORT/));
    assert.throws(
      () => load(null, { storePathCommitLog: "/a,/b" }),
      refusal(/several separated by commas are not supported/),
    );
    assert.throws(() => load(null, { deleteWhen: "25" }), refusal(/hours from 00 to 23/));
    assert.throws(() => load(null, { nonsenseKey: "1" }), refusal(/is unknown/));
    for (const huge of ["99999999999999999999", "1e9", "0x10", "1.5", "", "-1"]) {
      assert.throws(() => load(null, { slaveTimeout: huge }), refusal(/slave-timeout/), huge);
    }
  });

  it("refuses a SLAVE whose brokerId is 0, forces 0 on a master", () => {
    assert.throws(
      () => load("brokerRole=SLAVE\nbrokerId=0"),
      refusal(/brokerId \(broker.conf, line 2\) is 0 and brokerRole is SLAVE/),
    );
    const { config, warnings } = load("brokerId=3");
    assert.equal(config.brokerId, 0);
    assert.match(warnings[0]!, /is 3: a master's brokerId is 0/);
  });

  it("refuses a master on a flag that follows somebody, and warns of one in a file", () => {
    assert.throws(() => load(null, { master: "h:1" }), refusal(/^--master is "h:1" and brokerRole is ASYNC_MASTER/));
    assert.throws(() => load("brokerRole=SYNC_MASTER", { master: "h:1" }), refusal(/wanted --role slave/));
    assert.match(
      load("haMasterAddress=h:1").warnings[0]!,
      /^haMasterAddress \(broker.conf, line 1\) is "h:1" .*followed/,
    );
    assert.deepEqual(load("haMasterAddress=\n", { master: "none" }).warnings, []);
    assert.deepEqual(load("haMasterAddress=h:1", { role: "slave" }).warnings, []);
  });

  it("holds settings against each other", () => {
    assert.throws(
      () => load("haSendHeartbeatInterval=20000"),
      refusal(/wanted less than haHousekeepingInterval \(20000\)/),
    );
    assert.throws(
      () => load("diskSpaceCleanForciblyRatio=95"),
      refusal(/wanted at most diskSpaceWarningLevelRatio \(90\)/),
    );
  });

  it("waits for two copies on a SYNC_MASTER unless told 1, which is warned about", () => {
    assert.equal(load("brokerRole=SYNC_MASTER").config.inSyncReplicas, 2);
    assert.deepEqual(load("brokerRole=SYNC_MASTER").warnings, []);
    assert.match(
      load("brokerRole=SYNC_MASTER\ninSyncReplicas=1").warnings[0]!,
      /inSyncReplicas .* is 1: this SYNC_MASTER does not wait/,
    );
    assert.deepEqual(load("inSyncReplicas=1").warnings, []);
  });

  it("bends what Apache bends", () => {
    assert.equal(load("mappedFileSizeConsumeQueue=301").config.mappedFileSizeConsumeQueue, 320);
    assert.equal(load("registerNameServerPeriod=1").config.registerNameServerPeriod, 10000);
    assert.equal(load("registerNameServerPeriod=99999").config.registerNameServerPeriod, 60000);
  });
});

describe("createConfig", () => {
  it("takes typed values and refuses unknown keys", () => {
    const { config } = createConfig({
      brokerRole: "SLAVE",
      listenPort: 0,
      haMasterAddress: null,
      storePathRootDir: "/x",
    }, HOST);
    assert.equal(config.haMasterAddress, null);
    assert.equal(config.storePathCommitLog, "/x/commitlog");
    assert.throws(() => createConfig({ nope: 1 } as object, HOST), refusal(/"nope" is unknown/));
    assert.throws(() => createConfig({ listenPort: -1 }, HOST), refusal(/listenPort is -1, wanted/));
  });
});

describe("parseConfigPatch", () => {
  const { config } = load(null);

  it("takes live keys of the right type, in place", () => {
    const mine = { ...config };
    applyConfigPatch(
      mine,
      parseConfigPatch(mine, { slaveTimeout: 1000, haFlowControlEnable: true, haTransferBatchSize: null }),
    );
    assert.equal(mine.slaveTimeout, 1000);
    assert.equal(mine.haFlowControlEnable, true);
    assert.equal(mine.haTransferBatchSize, null);
    assert.deepEqual(parseConfigPatch(config, { registerNameServerPeriod: 1 }), { registerNameServerPeriod: 10000 });
    assert.deepEqual(parseConfigPatch(config, { haSlaveFallbehindMax: 9 }), { haMaxGapNotInSync: 9 });
  });

  it("refuses the rest", () => {
    assert.throws(
      () => parseConfigPatch(config, { listenPort: 1 }),
      refusal(/listenPort can't change while the node runs/),
    );
    assert.throws(() => parseConfigPatch(config, { slaveTimout: 1 }), refusal(/did you mean "slaveTimeout"/));
    assert.throws(() => parseConfigPatch(config, { slaveTimeout: "soon" }), refusal(/slaveTimeout is "soon", wanted/));
    assert.throws(() => parseConfigPatch(config, { slaveTimeout: null }), refusal(/slaveTimeout is null, wanted/));
    assert.throws(() => parseConfigPatch(config, { slaveTimeout: [1] }), refusal(/slaveTimeout is \[1\], wanted/));
    assert.throws(
      () => parseConfigPatch(config, { haSendHeartbeatInterval: 30000 }),
      refusal(/wanted less than haHousekeepingInterval/),
    );
    assert.throws(() => parseConfigPatch(config, { __proto__x: 1 }), refusal(/is unknown/));
  });
});

describe("flagName", () => {
  it("is the key in kebab-case", () => {
    assert.equal(flagName("haListenPort"), "--ha-listen-port");
    assert.equal(flagName("brokerIP2"), "--broker-ip2");
    assert.equal(flagName("checkCRCOnRecover"), "--check-crc-on-recover");
    assert.equal(flagName("enabledAppendPropCRC"), "--enabled-append-prop-crc");
    assert.equal(flagName("slaveSyncIntervalMs"), "--slave-sync-interval-ms");
    assert.equal(flagName("json"), "--json");
  });
});
