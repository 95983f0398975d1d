// mqadmin of 5.3.3 as one long-lived process: see MqadminLab.java. A command takes its own time, not a JVM's start.

import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { javaProgram } from "./clients.ts";

/** What a command printed. */
export interface MqadminOutput {
  readonly text: string;
  readonly milliseconds: number;
  readonly timedOut: boolean;
}

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** One such process, whose own clients use one NameServer. */
export class MqadminLab {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<string, (output: MqadminOutput) => void>();
  readonly #logPath: string;
  #received = "";
  #next = 0;

  private constructor(child: ChildProcess, logPath: string) {
    this.#child = child;
    this.#logPath = logPath;
    running.add(child);
    child.on("exit", () => running.delete(child));
    child.stdout!.setEncoding("utf8").on("data", (text: string) => this.#read(text));
  }

  /** Starts it. */
  static async start(options: { directory: string; namesrv: string }): Promise<MqadminLab> {
    const { directory, namesrv } = options;
    fs.mkdirSync(directory, { recursive: true });
    const { command } = await javaProgram("MqadminLab", "5.3.3", directory, { "java.security.manager": "allow" });
    const logPath = path.join(directory, "mqadmin.log");
    const log = fs.openSync(logPath, "a");
    const [java = "java", ...args] = [...command, namesrv];
    const env = { ...process.env, ROCKETMQ_HOME: directory };
    const child = spawn(java, args, { cwd: directory, env, stdio: ["pipe", "pipe", log] });
    fs.closeSync(log);
    return new MqadminLab(child, logPath);
  }

  /** Runs one command, interrupted after `limitMs`; rejects only when the process is gone. */
  run(words: readonly string[], limitMs = 30_000): Promise<MqadminOutput> {
    const id = String(this.#next++);
    return new Promise((resolve, reject) => {
      const onExit = () => reject(new Error(`mqadmin ended:\n${fs.readFileSync(this.#logPath, "utf8").slice(-2000)}`));
      this.#child.once("exit", onExit);
      this.#waiting.set(id, (output) => {
        this.#child.off("exit", onExit);
        resolve(output);
      });
      this.#child.stdin!.write([id, limitMs, ...words].join("\t") + "\n");
    });
  }

  /** Ends it. */
  stop(): void {
    this.#child.stdin!.end();
    this.#child.kill("SIGTERM");
  }

  #read(text: string): void {
    this.#received += text;
    for (;;) {
      const found = /\u0001BEGIN (\d+)\n([^]*?)\u0001END \1 (\d+) (ok|timeout)\n/.exec(this.#received);
      if (found === null) return;
      this.#received = this.#received.slice(found.index + found[0].length);
      const [, id, output, milliseconds, how] = found;
      this.#waiting.get(id!)?.({ text: output!, milliseconds: Number(milliseconds), timedOut: how === "timeout" });
      this.#waiting.delete(id!);
    }
  }
}
