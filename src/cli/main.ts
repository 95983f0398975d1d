// The command line: verbs, their arguments, help, and the exit code. Each verb lives in its own file; what only one verb
// needs is imported when it runs, so that `serve` starts fast.

import { Command, CommanderError, InvalidArgumentError } from "commander";
import { ConfigError, StoreSizeError } from "../base/errors.ts";
import { quoted } from "../base/printable.ts";
import { VERSION } from "../broker/version.ts";
import { isNamesrvRole, NAMESRV_ROLE } from "../config/namesrv_config.ts";
import { settingOf } from "../config/schema.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { adminClient, DEFAULT_ADMIN } from "./admin_client.ts";
import { configOptions, flagTexts, helpFormat, namesrvHelp, withSuggestion } from "./flags.ts";
import { printError, runServe } from "./serve.ts";

/** Exit codes: done, failed, wrong use or configuration. */
export const EXIT = { done: 0, failed: 1, wrongUse: 2 } as const;

/**
 * Runs the command line and resolves to the exit code. `args` are what follows the program's name; absent: this
 * process's own.
 */
export async function runCli(runtime: Runtime, args?: readonly string[]): Promise<number> {
  let code: number = EXIT.done;
  const program = createProgram(runtime, (result) => code = result);
  try {
    if (args === undefined) await program.parseAsync();
    else await program.parseAsync([...args], { from: "user" });
    return code;
  } catch (error) {
    // Commander has printed its own message, or the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.wrongUse;
    printError(runtime, error);
    return error instanceof ConfigError || error instanceof StoreSizeError ? EXIT.wrongUse : EXIT.failed;
  }
}

/** The program; each verb hands its exit code to `done`. */
function createProgram(runtime: Runtime, done: (code: number) => void): Command {
  const program = new Command("twinlog")
    .description("A JVM-free Apache RocketMQ: broker, verified and promotable replica, NameServer")
    .version(VERSION, "--version", "print the version")
    .helpOption("-h, --help", "print this help; `serve --help` lists every setting")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => runtime.process.writeOut(text),
      writeErr: (text) => runtime.process.writeErr(text),
      outputError: (text, write) => write(withPrefix(text)),
      getOutHelpWidth: () => HELP_WIDTH,
      getErrHelpWidth: () => HELP_WIDTH,
    })
    .addHelpText("beforeAll", () => {
      // Commander answers --help before anybody looks at the verb.
      const verb = program.args[0];
      if ((verb === undefined || verb === "serve" || verb.startsWith("-")) && givesNamesrvRole(wordsOf(program))) {
        runtime.process.writeOut(namesrvHelp(HELP_WIDTH));
        throw new CommanderError(EXIT.done, "commander.help", "(outputHelp)");
      }
      if (verb !== undefined && verb !== "help" && !verb.startsWith("-") && !isVerb(program, verb)) {
        program.error(`error: unknown verb '${verb}', see --help`);
      }
      return "";
    })
    .addHelpText("before", "Run by: deno run -A cli.ts, bun cli.ts, node cli.ts or, installed, twinlog\n")
    .addHelpText("after", EXAMPLES);
  addServe(program, runtime, done);
  addNodeVerbs(program, runtime, done);
  addMessageVerbs(program, runtime, done);
  addVerify(program, runtime, done);
  program.command("config-docs", { hidden: true }).description("print docs/configuration.md").action(async () => {
    const { renderConfigurationDocs } = await import("../config/render_docs.ts");
    runtime.process.writeOut(renderConfigurationDocs());
  });
  return program;
}

const HELP_WIDTH = 100;

/** One prefix for every error, whoever found it. */
const withPrefix = (text: string) => text.replace(/^error: /, "twinlog: ");

const isVerb = (program: Command, name: string | undefined) => program.commands.some((verb) => verb.name() === name);

const EXAMPLES = `
Examples:
  twinlog --role master                              a broker on 10911, NameServer 9876, page 10913
  twinlog --role slave                               its twin on 11911, following 127.0.0.1:10912
  twinlog --role slave --master 10.0.0.5:10912       the twin of an Apache broker
  twinlog -c broker.conf --store /data/twin          settings from an Apache broker.conf; flags win
  twinlog --role namesrv -c namesrv.conf             a NameServer alone, on 9876 unless told
  twinlog send --topic T --body hello                a message in, through the admin API
  twinlog status --watch --admin 127.0.0.1:11913     what the slave says
  twinlog switchover --from 127.0.0.1:10913 --to 127.0.0.1:11913
  twinlog verify ./data/11911 --against ./data/10911

serve is what runs when no verb is given. Its common flags: --role, --master HOST:PORT, --store DIR,
--name NAME, --admin HOST:PORT, -c FILE, --json.
Exit codes: 0 done, 1 failed, 2 wrong use or configuration.`;

const NAMESRV_HELP = `
--role namesrv runs a NameServer alone; --role namesrv --help lists the flags that it takes.`;

type Done = (code: number) => void;

function addServe(program: Command, runtime: Runtime, done: Done): void {
  const options = configOptions();
  const serve = program.command("serve", { isDefault: true }).description("run a node (the default verb)")
    .option("-c, --config <file>", "an Apache broker.conf, for --role namesrv a namesrv.conf; flags win over it")
    .allowExcessArguments(true)
    // The flags of a node are serve's alone.
    .configureOutput({ outputError: (text, write) => write(withPrefix(withSuggestion(text))) })
    .addHelpText("after", NAMESRV_HELP)
    .configureHelp(helpFormat(HELP_WIDTH));
  for (const { section, option } of options) {
    if (section !== "") option.helpGroup(`${section}:`);
    serve.addOption(option);
  }
  serve.action(async (values: Record<string, unknown>, command: Command) => {
    const extra = command.args[0];
    if (isVerb(program, extra)) program.error(`error: the verb '${extra}' goes first, its flags after it`);
    if (extra !== undefined) program.error(`error: unknown verb '${extra}', see --help`);
    const file = typeof values.config === "string" ? values.config : null;
    const flags = flagTexts(options, values, wordsOf(program));
    const role = flags.get("role") ?? flags.get("brokerRole");
    if (!isNamesrvRole(role)) {
      if (role !== undefined) checkRole(flags.has("role") ? "--role" : "--broker-role", role);
      return done(await runServe(runtime, { flags, file }));
    }
    for (const key of ["role", "brokerRole"]) flags.delete(key);
    const { runNamesrv } = await import("./serve_namesrv.ts");
    done(await runNamesrv(runtime, { flags, file }));
  });
}

/** The words as typed: commander keeps them, its types don't show them. */
function wordsOf(program: Command): readonly string[] {
  return (program as unknown as { rawArgs: readonly string[] }).rawArgs;
}

/** Throws {@link ConfigError} for a role that is none; unlike the configuration's own message it knows of `namesrv`. */
function checkRole(flag: string, role: string): void {
  const { parse, wanted } = settingOf("brokerRole");
  if (parse(role.trim()) === undefined) {
    throw new ConfigError(`${flag} is ${quoted(role)}, wanted ${wanted}, ${NAMESRV_ROLE}`);
  }
}

/** Whether the words as typed have `--role namesrv`. */
function givesNamesrvRole(args: readonly string[]): boolean {
  return args.some((arg, at) => {
    const [flag, value] = arg.split("=", 2);
    return (flag === "--role" || flag === "--broker-role") && isNamesrvRole(value ?? args[at + 1]);
  });
}

/** A verb that talks to a node. */
function nodeVerb(program: Command, name: string, description: string): Command {
  return program.command(name).description(description)
    .option("--admin <host:port>", "the node's admin address", DEFAULT_ADMIN)
    .option("--admin-token-file <file>", "file with its token (or TWINLOG_ADMIN_TOKEN)");
}

interface NodeOptions {
  admin: string;
  adminTokenFile?: string;
}

interface RoleOptions {
  brokerId?: number;
  master?: string;
  force?: boolean;
  resync?: boolean;
}

const clientOf = (runtime: Runtime, options: NodeOptions, flag?: string) =>
  adminClient(runtime, options.admin, options.adminTokenFile ?? null, flag);

function addNodeVerbs(program: Command, runtime: Runtime, done: Done): void {
  nodeVerb(program, "status", "what the node says of itself and its slaves")
    .option("--watch", "again at every change")
    .option("--json", "as JSON")
    .action(async (options: NodeOptions & { watch?: boolean; json?: boolean }) => {
      const { runStatus } = await import("./status.ts");
      done(
        await runStatus(runtime, clientOf(runtime, options), {
          watch: options.watch ?? false,
          json: options.json ?? false,
        }),
      );
    });
  nodeVerb(program, "role", "switch the node's role while it runs")
    .argument("<role>", "master, async-master, sync-master or slave")
    .option("--broker-id <n>", "a slave's id", wholeNumber)
    .option("--master <host:port>", "HA address the slave follows")
    .option("--force", "although the master was heard just now, the log's end is unverified, or puts are held off")
    .option(
      "--resync",
      "a slave sets aside, into a file, what its master does not have; on a master only with --master",
    )
    .action(async (role: string, options: NodeOptions & RoleOptions) => {
      const { runRole } = await import("./status.ts");
      const { brokerId, master: masterAddress, force, resync } = options;
      const given = Object.entries({ brokerId, masterAddress, force, resync })
        .filter(([, value]) => value !== undefined);
      done(await runRole(runtime, clientOf(runtime, options), { role, ...Object.fromEntries(given) }));
    });
  nodeVerb(program, "master-address", "what the slave follows")
    .argument("<address>", "HOST:PORT of the master's HA port; none stops following")
    .action(async (address: string, options: NodeOptions) => {
      const { runMasterAddress } = await import("./status.ts");
      done(await runMasterAddress(runtime, clientOf(runtime, options), address === "none" ? null : address));
    });
  program.command("switchover").description("change master and slave over, all of it or back to the start")
    .requiredOption("--from <host:port>", "the master's admin address")
    .requiredOption("--to <host:port>", "the slave's admin address")
    .option("--admin-token-file <file>", "file with their token (or TWINLOG_ADMIN_TOKEN)")
    .option("--timeout <seconds>", "longest wait for equal logs, and for following", wholeNumber, 30)
    .action(async (options: { from: string; to: string; adminTokenFile?: string; timeout: number }) => {
      const { runSwitchover } = await import("./switchover.ts");
      const from = clientOf(runtime, { ...options, admin: options.from }, "--from");
      const to = clientOf(runtime, { ...options, admin: options.to }, "--to");
      done(await runSwitchover(runtime, { from, to }, { timeoutMs: options.timeout * 1000 }));
    });
}

function addMessageVerbs(program: Command, runtime: Runtime, done: Done): void {
  nodeVerb(program, "send", "put messages: --body, --file, or one per line of standard input")
    .requiredOption(
      "--topic <topic>",
      "where to; a topic that is missing is made with 4 queues, as for Apache's producers (defaultTopicQueueNums at most)",
    )
    .option("--body <text>", "one message of this text")
    .option("--file <file>", "one message of this file's bytes")
    .option("--tags <tags>", "its tags")
    .option("--keys <keys>", "its keys, separated by blanks")
    .option("--queue-id <n>", "its queue; absent: the node picks one", wholeNumber)
    .option("--json", "answers as JSON")
    .action(async (options) => {
      const { runSend } = await import("./messages.ts");
      done(await runSend(runtime, clientOf(runtime, options), { ...options, json: options.json ?? false }));
    });
  nodeVerb(program, "tail", "print messages as they come")
    .requiredOption("--topic <topic>", "where from")
    .option("--from <offset>", "start at this queue offset; absent: with the next message", wholeNumber)
    .option("--queue-id <n>", "this queue only", wholeNumber)
    .option("--count <n>", "end after so many", wholeNumber)
    .option("--json", "one JSON object per message")
    .action(async (options) => {
      const { runTail } = await import("./messages.ts");
      done(await runTail(runtime, clientOf(runtime, options), { ...options, json: options.json ?? false }));
    });
}

function addVerify(program: Command, runtime: Runtime, done: Done): void {
  program.command("verify").description("check every record and consume queue entry of a store")
    .argument("<store>", "the store's directory")
    .option(
      "--against <store|host:port>",
      "compare byte for byte with another store, or with a master over its HA port (seen there as a peer that only reads)",
    )
    .option("--commit-log <dir>", "the commit log's directory when it is not in the store")
    .option("--ha-tls-cert-file <file>", "for a master with haTlsEnable: the certificate to show (PEM)")
    .option("--ha-tls-key-file <file>", "its key")
    .option("--ha-tls-ca-file <file>", "the CA of the master's certificate")
    .option("--json", "the result as JSON")
    .action(async (store: string, options: VerifyFlags) => {
      const { runVerify } = await import("./verify.ts");
      const { against = null, commitLog = null, json = false } = options;
      const { haTlsCertFile = null, haTlsKeyFile = null, haTlsCaFile = null } = options;
      const haTlsEnable = (haTlsCertFile ?? haTlsKeyFile ?? haTlsCaFile) !== null;
      const tls = { haTlsEnable, haTlsCertFile, haTlsKeyFile, haTlsCaFile };
      done(await runVerify(runtime, store, { against, commitLog, json, tls }));
    });
}

interface VerifyFlags {
  readonly against?: string;
  readonly commitLog?: string;
  readonly json?: boolean;
  readonly haTlsCertFile?: string;
  readonly haTlsKeyFile?: string;
  readonly haTlsCaFile?: string;
}

function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError("Wanted a whole number.");
  return Number(text);
}
