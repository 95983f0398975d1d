// A NameServer's configuration: Apache's keys and defaults, files and flags, what is refused, and changes over the wire.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { ConfigError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import {
  EMBEDDED_NAMESRV_SETTINGS,
  isNamesrvRole,
  loadNamesrvConfig,
  NAMESRV_SETTINGS,
} from "../../src/config/namesrv_config.ts";
import { namesrvConfiguration, writeProperties } from "../../src/config/namesrv_configuration.ts";
import { parseProperties } from "../../src/config/properties.ts";
import { createConfig } from "../../src/config/load.ts";
import { Derived } from "../../src/config/setting.ts";
import { recordingLogger } from "../remoting/support.ts";

/** Apache 5.3.3's NamesrvConfig and, with the port NamesrvStartup sets, NettyServerConfig; null: worked out there. */
const APACHE: Record<string, string | number | boolean | null> = {
  listenPort: 9876,
  bindAddress: "0.0.0.0",
  serverChannelMaxIdleTimeSeconds: 120,
  orderMessageEnable: false,
  returnOrderTopicConfigToBroker: true,
  supportActingMaster: false,
  notifyMinBrokerIdChanged: false,
  enableTopicList: true,
  enableAllTopicList: true,
  needWaitForService: false,
  waitSecondsForService: 45,
  deleteTopicWithBrokerRegistration: false,
  scanNotActiveBrokerInterval: 5000,
  configBlackList: "configBlackList;configStorePath;kvConfigPath",
};

const file = (text: string) => ({ name: "namesrv.conf", bytes: utf8.encode(text) });
const flags = (values: Record<string, string>) => new Map(Object.entries(values));

describe("the settings of a NameServer alone", () => {
  it("have Apache's defaults wherever a row is not marked as ours", () => {
    const rows = Object.entries(NAMESRV_SETTINGS).filter(([, setting]) => setting.ours === undefined);
    assert.deepEqual(rows.map(([key]) => key).sort(), Object.keys(APACHE).sort());
    for (const [key, { fallback }] of rows) {
      assert.equal(fallback instanceof Derived ? null : fallback, APACHE[key], key);
    }
  });

  it("come from defaults, file and flags, the later one winning", () => {
    const { config } = loadNamesrvConfig({});
    assert.equal(config.listenPort, 9876);
    assert.equal(config.kvConfigPath, "./data/9876/namesrv/kvConfig.json");
    assert.equal(config.configStorePath, "./data/9876/namesrv/namesrv.properties");
    const given = loadNamesrvConfig({
      file: file("listenPort=1\nbindAddress = 10.0.0.1\norderMessageEnable=TRUE\nkvConfigPath=/k.json\n"),
      flags: flags({ listenPort: "2", store: "/d/" }),
    });
    assert.deepEqual(given.warnings, []);
    const { listenPort, bindAddress, orderMessageEnable, kvConfigPath, configStorePath } = given.config;
    assert.deepEqual([listenPort, bindAddress, orderMessageEnable], [2, "10.0.0.1", true]);
    assert.deepEqual([kvConfigPath, configStorePath], ["/k.json", "namesrv.conf"]);
    assert.equal(given.fileEntries.get("orderMessageEnable"), "TRUE");
    const named = loadNamesrvConfig({ file: file("configStorePath=/p"), flags: flags({ namesrvListenPort: "0" }) });
    assert.deepEqual([named.config.configStorePath, named.config.listenPort], ["/p", 0]);
    assert.equal(loadNamesrvConfig({ flags: flags({ store: "/d/" }) }).config.kvConfigPath, "/d/namesrv/kvConfig.json");
  });

  it("take a broker's file with one line about its keys, and refuse one without any key", () => {
    const load = (text: string) =>
      loadNamesrvConfig({ file: { name: "broker.conf", bytes: new TextEncoder().encode(text) } });
    const keys = [
      "brokerName",
      "mapedFileSizeCommitLog",
      "aclEnable",
      "transientStorePoolEnable",
      "abortFile",
      "rocksdbCompressionType",
    ];
    assert.deepEqual(load(keys.map((key) => `${key}=1\n`).join("")).warnings, [
      `broker.conf: without effect here: ${keys.join(", ")}`,
    ]);
    assert.throws(() => load("nothing=1"), /^ConfigError: broker.conf holds no key that is known/);
  });

  it("warn of what has no effect and of what is unknown, with the nearest name", () => {
    const { warnings } = loadNamesrvConfig({
      file: file("serverWorkerThreads=8\nbrokerName=x\nlistnPort=1\nsomethingElseAltogether=1\nclusterTest=false\n"),
    });
    assert.deepEqual(warnings, [
      'Left out: namesrv.conf, line 3, key "listnPort" is unknown, did you mean "listenPort"?; ' +
      'line 4, key "somethingElseAltogether" is unknown',
      "namesrv.conf: without effect here: serverWorkerThreads, brokerName",
    ]);
  });

  it("refuse wrong values, modes that are not supported, and flags of brokers", () => {
    const cases: [() => unknown, RegExp][] = [
      [
        () => loadNamesrvConfig({ file: file("\nlistenPort=70000") }),
        /^listenPort \(namesrv.conf, line 2\) is "70000"/,
      ],
      [
        () => loadNamesrvConfig({ flags: flags({ orderMessageEnable: "x" }) }),
        /^--order-message-enable is "x", wanted/,
      ],
      [
        () => loadNamesrvConfig({ file: file("enableControllerInNamesrv=true") }),
        /is "true", wanted "false": controller/,
      ],
      [() => loadNamesrvConfig({ file: file("useTLS=true") }), /^useTLS .* wanted "false": .* tlsEnable=true/],
      [() => loadNamesrvConfig({ file: file("kvConfigPath=\\u0") }), /^namesrv.conf, line 1 has "\\u0", wanted/],
      [
        () => loadNamesrvConfig({ flags: flags({ haListenPort: "1" }) }),
        /^--ha-listen-port is a flag of brokers, wanted/,
      ],
      [() => loadNamesrvConfig({ flags: flags({ master: "h:1" }) }), /^--master is a flag of brokers/],
    ];
    for (const [load, message] of cases) assert.throws(load, { name: "ConfigError", message });
  });

  it("go with a role that brokers do not have", () => {
    assert.deepEqual(["namesrv", "NAMESRV", "master", undefined].map(isNamesrvRole), [true, true, false, false]);
  });
});

describe("a NameServer's configuration over the wire", () => {
  function configuration(parts: { fileEntries?: Map<string, string>; values?: Record<string, unknown> } = {}) {
    const config = { ...loadNamesrvConfig({}).config, ...parts.values };
    const saved: string[] = [];
    const { logger, lines } = recordingLogger();
    const made = namesrvConfiguration({
      config,
      settings: NAMESRV_SETTINGS,
      logger,
      save: async (text) => void saved.push(text),
      ...(parts.fileEntries === undefined ? {} : { fileEntries: parts.fileEntries }),
    });
    return { config, saved, lines, text: made.text, update: (text: string) => made.update(utf8.encode(text)) };
  }

  it("shows every setting that has a value, sorted", () => {
    const { text } = configuration({ values: { kvConfigPath: "C:\\é" } });
    const lines = text().trimEnd().split("\n");
    assert.deepEqual(lines, lines.toSorted());
    assert.ok(lines.includes("listenPort=9876"));
    assert.ok(lines.includes("kvConfigPath=C:\\\\\\u00e9"));
    assert.ok(!text().includes("tlsServerKeyPath"));
  });

  it("changes live settings at once and saves them beside what stood in the file", async () => {
    const fileEntries = new Map([["listenPort", "1"], ["theirs", "kept = so"]]);
    const { config, saved, update, lines } = configuration({ fileEntries });
    assert.equal(await update("orderMessageEnable=true\nenableTopicList = FALSE\nunknown=1\n"), null);
    assert.deepEqual([config.orderMessageEnable, config.enableTopicList], [true, false]);
    assert.deepEqual(saved, ["enableTopicList=false\nlistenPort=1\norderMessageEnable=true\ntheirs=kept = so\n"]);
    assert.match(lines.join(), /Left out a setting that the NameServer does not have.*unknown/);
    assert.equal(await update("orderMessageEnable=true"), null);
    assert.equal(saved.length, 1);
    await update("remotingAllowedPeers=");
    await update("remotingAllowedPeers=10.0.0.0/8");
    await update("remotingAllowedPeers=");
    assert.equal(config.remotingAllowedPeers, null);
    assert.match(saved.at(-1)!, /^remotingAllowedPeers=$/m);
  });

  it("changes all or nothing", async () => {
    const { config, saved, update } = configuration({ values: { configBlackList: "enableTopicList;x" } });
    for (const key of ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome", "enableTopicList", "x"]) {
      assert.equal(await update(`orderMessageEnable=true\n${key}=1`), key);
    }
    await assert.rejects(update("orderMessageEnable=true\nscanNotActiveBrokerInterval=x"), ConfigError);
    await assert.rejects(
      update("orderMessageEnable=true\nlistenPort=1"),
      /listenPort is unchanged: it can't change while/,
    );
    assert.equal(await update("listenPort=9876"), null);
    assert.equal(config.orderMessageEnable, false);
    assert.deepEqual(saved, []);
  });

  it("is the broker's own inside a broker", async () => {
    const host = { hostname: "h", localAddress: "127.0.0.1", env: () => undefined };
    const { config } = createConfig({}, host);
    const made = namesrvConfiguration({
      config,
      settings: EMBEDDED_NAMESRV_SETTINGS,
      logger: SILENT_LOGGER,
      save: async () => {},
    });
    assert.match(made.text(), /^enableAllTopicList=true$/m);
    assert.doesNotMatch(made.text(), /listenPort|namesrvEnable/);
    await made.update(utf8.encode("enableAllTopicList=false"));
    assert.equal(config.enableAllTopicList, false);
  });
});

describe("writeProperties", () => {
  it("writes what parseProperties, and Java, read back", () => {
    const entries: [string, string][] = [
      ["plain", "value"],
      ["a key:with=all #of !it", " leading, back\\slash, é, 😀, tab\t, line\nend\r\f\u0001"],
      ["empty", ""],
    ];
    const read = parseProperties(utf8.encode(writeProperties(entries))).map(({ key, value }) => [key, value]);
    assert.deepEqual(read, entries);
  });
});
