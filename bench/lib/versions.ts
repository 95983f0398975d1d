// The versions under test, for the figures' headlines.

import * as path from "node:path";
import { versionOf } from "./machine.ts";
import { ROOT } from "./peer.ts";

/** Printable versions of runtimes and of `apache`, by title. */
export function versionsOf(names: readonly string[], apacheVersion: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of names) {
    if (name === "apache") {
      found["Apache RocketMQ"] = `${apacheVersion} on ${versionOf("java", ["--version"])}`;
      continue;
    }
    const title = name[0]!.toUpperCase() + name.slice(1);
    const text = versionOf(path.join(ROOT, "node_modules/.bin", name), ["--version"]);
    found[title] = text.replace(/^(deno |v)?(\S+).*$/, "$2");
  }
  return found;
}
