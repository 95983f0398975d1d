// The command line against a fake node behind a real HTTP socket: verbs, output, exit codes, and what is said when the
// use is wrong or nobody answers.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, describe, it } from "node:test";
import { createAdminApp } from "../../src/admin/admin_app.ts";
import { viewMessage } from "../../src/admin/message_view.ts";
import { IoError } from "../../src/base/errors.ts";
import { AdminClient } from "../../src/cli/admin_client.ts";
import { formatMessage, runTail } from "../../src/cli/messages.ts";
import { runCli } from "../../src/cli/main.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { FileSystem, HttpServer, Runtime } from "../../src/runtime/runtime.ts";
import { FakePort, followingStatus, nodeStatus, slaveStatus, storedMessage } from "../admin/fake_port.ts";

const real = await loadRuntime();
let port = new FakePort();
let server: HttpServer;
let admin = "";

before(async () => {
  const app = createAdminApp(
    new Proxy({} as FakePort, {
      get: (_, name) => {
        const value = Reflect.get(port, name);
        return typeof value === "function" ? value.bind(port) : value;
      },
    }),
    { token: null, clock: real.clock, ending: new AbortController().signal },
  );
  server = await real.serveHttp({ hostname: "127.0.0.1", port: 0 }, (request) => app.fetch(request));
  admin = `127.0.0.1:${server.address.port}`;
});
after(() => server.close());
beforeEach(() => {
  port = new FakePort();
});

/** Runs the command line with its output caught. */
async function run(
  args: string[],
  options: { stdin?: string; env?: Record<string, string>; files?: Record<string, string> } = {},
) {
  let out = "";
  let err = "";
  const encode = (text: string) => new TextEncoder().encode(text);
  const runtime: Runtime = {
    ...real,
    fs: {
      ...real.fs,
      readFile: (path) => options.files?.[path] === undefined ? null : encode(options.files[path]),
      stat: () => null,
    },
    process: {
      ...real.process,
      hostname: "box",
      localAddress: "10.0.0.1",
      stdoutIsTerminal: false,
      env: (name) => options.env?.[name],
      writeOut: (text) => out += text,
      writeErr: (text) => err += text,
      stdin: async function* () {
        const bytes = encode(options.stdin ?? "");
        for (let at = 0; at < bytes.length; at += 3) yield bytes.subarray(at, at + 3);
      },
    },
  };
  const code = await runCli(runtime, args);
  return { code, out, err };
}

const at = () => ["--admin", admin];

describe("wrong use and configuration: exit code 2", () => {
  const cases: [string[], RegExp][] = [
    [["nonsense"], /unknown verb 'nonsense'/],
    [["--json", "--role", "slave", "status"], /the verb 'status' goes first/],
    [["--ha-listen-prt", "1"], /unknown option '--ha-listen-prt'\n\(Did you mean --ha-listen-port\?\)/],
    [["--listen-port", "x"], /--listen-port is "x", wanted a whole number from 0 to 65535/],
    [["--listen-port"], /argument missing/],
    [["--role", "boss"], /^twinlog: --role is "boss", wanted one of master, .*SLAVE, namesrv$/m],
    [["--broker-role=boss"], /^twinlog: --broker-role is "boss", wanted one of .*, namesrv$/m],
    [["--namesrv-port", "1"], /unknown option '--namesrv-port'\n\(Did you mean --namesrv-listen-port\?\)\n$/],
    [["status", "--listen-prt", "1"], /unknown option '--listen-prt'\n$/],
    [["status", "--admn", "x:1"], /unknown option '--admn'\n\(Did you mean --admin\?\)\n$/],
    [["--rol", "master"], /unknown option '--rol'\n\(Did you mean --role\?\)\n$/],
    [["--nme=b"], /unknown option '--nme=?b?'\n\(Did you mean --name\?\)\n$/],
    [["--role", "master", "--master", "h:1"], /--master is "h:1" and brokerRole is ASYNC_MASTER, wanted --role slave/],
    [["--ha-master-address", "h:1"], /--ha-master-address is "h:1" and brokerRole is ASYNC_MASTER, wanted --role/],
    [["send", "--topic", "T", "--body", ""], /--body is "", wanted a body of at least one byte/],
    [["send", "--topic", "T", "--file", "empty"], /File "empty" is empty, wanted a body of at least one byte/],
    [["send", "--topic", "", "--body", "x"], /^twinlog: --topic is empty, wanted the name of a topic$/m],
    [["tail", "--topic", ""], /^twinlog: --topic is empty/m],
    [["send", "--topic", "T"], /Nothing was sent: standard input holds no line of text, wanted a body/],
    [["start", "--help"], /unknown verb 'start'/],
    [["role", "boss"], /Role is "boss", wanted one of .*slave/],
    [["role", "slave", "--master", "foo"], /--master is "foo", wanted HOST:PORT/],
    [["master-address", "foo"], /Master address is "foo", wanted HOST:PORT, or none/],
    [["serve", "--role", "slave", "--broker-id", "0"], /--broker-id is 0 and brokerRole is SLAVE/],
    [["-c", "missing.conf"], /"missing.conf" does not exist/],
    [["-c", "a.conf"], /enableControllerMode \(a.conf, line 1\) is "true", wanted "false"/],
    [["--acl-enable", "true"], /^twinlog: --acl-enable is "true", wanted "false": access control is not supported/],
    [["--acl-enable"], /^twinlog: --acl-enable is "true", wanted "false"/],
    [["--listen-port", "x", "--name", ""], /^twinlog: --name is "", .*\ntwinlog: --listen-port is "x", .*\n$/],
    [["--admin", "0.0.0.0:1"], /there is no token/],
    [["--ha-slave-fallbehind-max", "1", "--ha-max-gap-not-in-sync", "2"], /they are the same setting/],
    [["status", "--admin", "nowhere"], /--admin is "nowhere", wanted HOST:PORT/],
    [["status", "--admin-token-file", "t"], /Admin token file "t" does not exist/],
    [["role"], /missing required argument 'role'/],
    [["send", "--body", "x"], /required option '--topic <topic>' not specified/],
    [["tail", "--topic", "T", "--from", "-1"], /argument '-1' is invalid|argument missing/],
    [["send", "--topic", "T", "--body", "x", "--file", "f"], /Both --body and --file/],
    [["verify", "missing"], /Directory "missing\/commitlog" does not exist/],
    [["switchover", "--from", "a:1"], /required option '--to <host:port>'/],
  ];
  for (const [args, pattern] of cases) {
    it(args.join(" "), async () => {
      const { code, err } = await run(args, { files: { "a.conf": "enableControllerMode=true", empty: "" } });
      assert.match(err, pattern);
      assert.equal(code, 2);
    });
  }
});

describe("help and version: exit code 0", () => {
  it("lists the verbs, and every setting under serve", async () => {
    const { code, out } = await run(["--help"]);
    assert.equal(code, 0);
    for (const verb of ["serve", "status", "role", "master-address", "switchover", "verify", "send", "tail"]) {
      assert.match(out, new RegExp(`^  ${verb} `, "m"));
    }
    const serve = await run(["serve", "--help"]);
    assert.match(serve.out, /--role, --broker-role <master\|.*\|namesrv>$/m);
    assert.match(serve.out, /--ha-ack-after-flush \[true\|false\]/);
    assert.doesNotMatch(serve.out, /--maped/);
    for (const line of `${out}${serve.out}`.split("\n")) assert.ok(line.length <= 100, line);
    assert.match((await run(["--version"])).out, /^\d+\.\d+\.\d+\n$/);
  });
});

describe("files and directories that are none: exit code 2", () => {
  it("says what was seen and what is wanted, in one line", async () => {
    const directory = mkdtempSync(join(tmpdir(), "twinlog-cli-"));
    const file = join(directory, "file");
    writeFileSync(file, "");
    const store = join(directory, "store");
    mkdirSync(join(store, "commitlog"), { recursive: true });
    writeFileSync(join(store, "commitlog", "00000000000000000000"), new Uint8Array(4096));
    const readAt = (at: string, ...args: string[]) => [[...args, at], "can't be read \\(\\w+\\)"] as const;
    const cases = [
      [["-c", directory], `^twinlog: Configuration file "${directory}" is a directory, wanted a file`],
      readAt(`${file}/a.conf`, "-c"),
      [["--role", "namesrv", "-c", directory], "is a directory, wanted a file"],
      [["send", "--topic", "T", "--file", directory], `^twinlog: File "${directory}" is a directory, wanted a file`],
      [["status", "--admin-token-file", directory], `^twinlog: Admin token file "${directory}" is a directory`],
      [["verify", file], `^twinlog: "${file}" is a file, wanted a store's directory`],
      [["verify", join(store, "commitlog")], `commitlog" is a commit log, wanted a store's directory: "${store}"`],
      [["--store", store, "--ha-listen-port", "0"], "has 4096 bytes, wanted 1073741824; set mappedFileSizeCommitLog"],
      [["--store", "~/q"], `^twinlog: storePathRootDir \\(--store\\) is "~/q", wanted a path without ~`],
      [["--role", "namesrv", "--store", "~"], `is "~", wanted a path without ~`],
      [["--store", file], `^twinlog: storePathRootDir \\(--store\\) is "${file}", which is a file, wanted a directory`],
      [["--store", `${file}/below`], `is "${file}/below", which can't be \\w+ \\(ENOTDIR\\), wanted a directory`],
      [["--role", "namesrv", "--store", file], `is "${file}", which is a file, wanted a directory`],
      [["--store", directory, "--store-path-commit-log", file], `^twinlog: storePathCommitLog is "${file}", which is`],
    ] as const;
    try {
      for (const [args, pattern] of cases) {
        let err = "";
        const process = { ...real.process, env: () => undefined, writeErr: (text: string) => err += text };
        assert.equal(await runCli({ ...real, process }, args), 2, args.join(" "));
        assert.match(err, new RegExp(pattern));
        assert.equal(err.split("\n").length, 2, err);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("an address to bind that is none: exit code 1, as it may be there when a service manager tries again", () => {
  it("is told by the flag that names it", async () => {
    const directory = mkdtempSync(join(tmpdir(), "twinlog-cli-"));
    const node = ["--listen-port", "0", "--store", directory, "--admin", "none"];
    const cases = [
      [[...node, "--bind-address", "nohost.invalid"], '--bind-address is "nohost.invalid"'],
      [[...node, "--bind-address", "192.0.2.9"], '--bind-address is "192.0.2.9"'],
      [
        ["--role", "namesrv", "--listen-port", "0", "--bind-address", "nohost.invalid"],
        '--bind-address is "nohost.invalid"',
      ],
    ] as const;
    try {
      for (const [args, text] of cases) {
        let err = "";
        const process = { ...real.process, env: () => undefined, writeErr: (text: string) => err += text };
        assert.equal(await runCli({ ...real, process }, args), 1, err);
        assert.ok(err.includes(`twinlog: ${text}, wanted an address of this machine`), err);
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

describe("a disk that fails at the start: exit code 1, as another start may mend it", () => {
  it("is no mistake of configuration", async () => {
    const failing = (code: string) => () => {
      throw new IoError(code === "ENOSPC" ? "noSpace" : "other", `Failed: ${code}`, code);
    };
    const cases = [[{ stat: failing("EIO") }, "EIO"], [{ makeDirectory: failing("ENOSPC") }, "ENOSPC"]] as const;
    for (const [broken, code] of cases) {
      let err = "";
      const process = { ...real.process, env: () => undefined, writeErr: (text: string) => err += text };
      const fs: FileSystem = Object.assign(Object.create(real.fs), broken);
      assert.equal(await runCli({ ...real, process, fs }, ["--store", join(tmpdir(), "twinlog-cli-none")]), 1, err);
      assert.equal(err, `twinlog: Failed: ${code}\n`);
    }
  });
});

describe("when nobody answers: exit code 1", () => {
  it("says where and what to do", async () => {
    const closed = await real.net.listen({ hostname: "127.0.0.1", port: 0 });
    const address = `127.0.0.1:${closed.address.port}`;
    closed.close();
    const { code, err } = await run(["status", "--admin", address]);
    assert.equal(code, 1);
    assert.match(
      err,
      new RegExp(`No admin API answers at ${address}: start a node there, or name its admin address by --admin`),
    );
  });
});

describe("status", () => {
  it("shows a master's slaves and a slave's master", async () => {
    const master = await run(["status", ...at()]);
    assert.equal(master.code, 0);
    assert.match(master.out, /broker-a \(cluster DefaultCluster, id 0\) is ASYNC_MASTER/);
    assert.match(master.out, /^Registers with: 127\.0\.0\.1:9876, ns2:9876 \(fails\)$/m);
    assert.match(master.out, /^10\.0\.0\.2:40000 +TRANSFER +yes +900 +100 B +50 B\/s$/m);
    port.figures = followingStatus({
      master: { ...followingStatus().master!, reason: "diverged at 5", verified: false, diff: null },
    });
    const slave = await run(["status", ...at()]);
    assert.match(slave.out, /Master: 10\.0\.0\.1:10912, TRANSFER, unverified, lag unknown/);
    assert.match(slave.out, /Not following: diverged at 5$/m);
    assert.doesNotMatch(slave.out, /What to do/);
    port.figures = followingStatus({
      master: { ...followingStatus().master!, reason: "diverged at 5", remedy: "restart with --resync" },
    });
    assert.match((await run(["status", ...at()])).out, /^What to do: restart with --resync$/m);
    port.figures = nodeStatus({ writable: false, fenced: true, notWritableReason: "Started read-only: why" });
    assert.match((await run(["status", ...at()])).out, /^Puts: held off \(fenced\), Started read-only: why$/m);
    assert.deepEqual(
      JSON.parse((await run(["status", "--json", ...at()])).out),
      JSON.parse(JSON.stringify(port.figures)),
    );
  });

  it("watches on when the node goes away, until it refuses", async () => {
    let requests = 0;
    const short = await real.serveHttp({ hostname: "127.0.0.1", port: 0 }, () => {
      const event = (maxOffset: number) =>
        `event: status\ndata: ${JSON.stringify(nodeStatus({ maxOffset, slaves: [slaveStatus()] }))}\n\n`;
      if (requests++ > 0) return Response.json({ error: "No token" }, { status: 401 });
      return new Response(event(1) + event(2), { headers: { "content-type": "text/event-stream" } });
    });
    const { code, out, err } = await run(["status", "--watch", "--json", "--admin", `127.0.0.1:${short.address.port}`]);
    assert.deepEqual(out.trim().split("\n").map((line) => JSON.parse(line).maxOffset), [1, 2]);
    assert.match(err, /does not answer, trying again\n.*No token: give --admin-token-file FILE/);
    assert.equal(code, 1);
    await short.close();
  });
});

describe("role and master-address", () => {
  it("asks the node and shows what it is then", async () => {
    assert.equal((await run(["role", "slave", "--broker-id", "2", "--master", "h:1", ...at()])).code, 0);
    assert.equal((await run(["role", "slave", "--resync", ...at()])).code, 0);
    assert.equal((await run(["role", "sync-master", "--force", ...at()])).code, 0);
    assert.equal((await run(["master-address", "h:2", ...at()])).code, 0);
    assert.equal((await run(["master-address", "none", ...at()])).code, 0);
    assert.deepEqual(port.asked, [
      { role: "SLAVE", brokerId: 2, masterAddress: "h:1" },
      { role: "SLAVE", resync: true },
      { role: "SYNC_MASTER", force: true },
      { address: "h:2" },
      { address: null },
    ]);
  });

  it("passes on the reason of a refusal", async () => {
    port.outcome = { type: "refused", reason: "The master was heard 3 s ago" };
    const { code, err } = await run(["role", "master", ...at()]);
    assert.equal(code, 1);
    assert.match(err, /refuses PUT \/role: The master was heard 3 s ago \(409\)/);
    port.outcome = { type: "refused", reason: "It is alive: stop it first, or give force" };
    assert.match((await run(["role", "master", ...at()])).err, /or give force \(--force\) \(409\)/);
  });
});

describe("send", () => {
  const bodies = () => port.messages.map((message) => new TextDecoder().decode(message.body));

  it("puts a text, a file, or the lines of standard input", async () => {
    const { code, out } = await run(["send", "--topic", "T", "--body", "hello", "--tags", "a", "--keys", "k", ...at()]);
    assert.equal(code, 0);
    assert.match(out, /^PUT_OK queue 0 at 0, log 0, [0-9A-F]{32}\n$/);
    assert.deepEqual([...port.messages[0]!.properties], [["KEYS", "k"], ["TAGS", "a"]]);
    await run(["send", "--topic", "T", "--file", "f", ...at()], { files: { f: "from a file" } });
    assert.equal(
      (await run(["send", "--topic", "T", "--json", ...at()], { stdin: "eins\r\nzwö\n\nlast" })).out.trim().split("\n")
        .length,
      3,
    );
    assert.match((await run(["send", "--topic", "T", ...at()], { stdin: "\n\nx\n" })).err, /^Skipped 2 empty lines$/m);
    port.messages.pop();
    assert.deepEqual(bodies(), ["hello", "from a file", "eins", "zwö", "last"]);
  });

  it("fails when anything is less than PUT_OK", async () => {
    port.putOutcome = { status: "SERVICE_NOT_AVAILABLE", remark: "Role is SLAVE", stored: null };
    const { code, out } = await run(["send", "--topic", "T", "--body", "x", ...at()]);
    assert.equal(code, 1);
    assert.equal(out, "SERVICE_NOT_AVAILABLE: Role is SLAVE\n");
    const refused = await run(["send", "--topic", "no topic", "--body", "x", ...at()]);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /refuses the message: topic is "no topic", wanted/);
  });
});

describe("tail", () => {
  it("prints from an offset, and what comes later", async () => {
    port.add(storedMessage(0, "first", { storeTimestamp: 0 }));
    const running = run(["tail", "--topic", "T", "--from", "0", "--count", "2", ...at()]);
    while (port.messageListeners.size === 0) {
      await new Promise((resolve) => real.clock.setTimer(1, () => resolve(null)));
    }
    port.add(storedMessage(1, new Uint8Array([0xff]), { storeTimestamp: 0, properties: new Map([["KEYS", "k"]]) }));
    const { code, out } = await running;
    assert.equal(code, 0);
    assert.equal(
      out,
      "0:0  1970-01-01T00:00:00.000Z  tags=a  first\n0:1  1970-01-01T00:00:00.000Z  keys=k  base64:/w==\n",
    );
  });

  it("says that it waits from beyond the end, and does wait", async () => {
    const asked: string[] = [];
    const answers = [
      { queues: [{ queueId: 0, minOffset: 0, maxOffset: 1 }, { queueId: 1, minOffset: 0, maxOffset: 5 }] },
      // A read beyond the end is pointed to the end once its time is up.
      { messages: [], nextOffset: 2 },
      { messages: [viewMessage(storedMessage(5, "late"))], nextOffset: 6 },
    ];
    const send = (url: string | URL | Request) => {
      asked.push(String(url));
      return Promise.resolve(Response.json(answers[asked.length - 1]));
    };
    let out = "";
    let err = "";
    const process = {
      ...real.process,
      writeOut: (text: string) => out += text,
      writeErr: (text: string) => err += text,
    };
    const client = new AdminClient("h:1", null, send as typeof fetch);
    const options = { topic: "T", queueId: 0, from: 5, count: 1, json: false };
    assert.equal(await runTail({ ...real, process }, client, options), 0);
    assert.equal(err, 'Topic "T": queue 0 ends at 1, waiting from 5 on\n');
    assert.deepEqual(asked.slice(1).map((url) => /offset=\d+/.exec(url)![0]), ["offset=5", "offset=5"]);
    assert.match(out, /^0:5 .* late\n$/);
  });

  it("keeps a message on its line, and from steering a terminal", () => {
    const view = viewMessage(storedMessage(0, "a\r\nb\x1b[2J\tc", { storeTimestamp: 0 }));
    assert.match(formatMessage(view, false), / {2}a\\r\\nb\x1b\[2J\tc$/);
    assert.match(formatMessage(view, true), / {2}a\\r\\nb\\x1b\[2J\\tc$/);
  });

  it("refuses a queue that isn't there", async () => {
    const { code, err } = await run(["tail", "--topic", "T", "--queue-id", "7", ...at()]);
    assert.equal(code, 1);
    assert.match(err, /has the queues 0, wanted 7/);
  });
});

describe("config-docs", () => {
  it("prints the document", async () => {
    assert.match((await run(["config-docs"])).out, /^# Configuration\n/);
  });
});
