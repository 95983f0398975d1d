// The versions under test, for the figures' headlines.

import * as path from "node:path";
import { BROKER_HEAP } from "../../tests/interop/lab/apache.ts";
import { versionOf } from "./machine.ts";
import { ROOT } from "./peer.ts";

/** Printable versions of runtimes and of `apache`, by title, and the commit that is measured. */
export function versionsOf(names: readonly string[], apacheVersion: string): Record<string, string> {
  const found: Record<string, string> = { Twinlog: versionOf("git", ["-C", ROOT, "rev-parse", "--short", "HEAD"]) };
  for (const name of names) {
    if (name === "apache") {
      const java = versionOf("java", ["--version"]);
      found["Apache RocketMQ"] = `${apacheVersion} (${BROKER_HEAP.join(" ")}) on ${java}`;
      continue;
    }
    const title = name[0]!.toUpperCase() + name.slice(1);
    const text = versionOf(path.join(ROOT, "node_modules/.bin", name), ["--version"]);
    found[title] = text.replace(/^(deno |v)?(\S+).*$/, "$2");
  }
  return found;
}
