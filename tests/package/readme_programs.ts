// The README's programs as tests take them: every ```ts block, with what its `// prints:` comments promise. readme_test.ts
// runs them on the source tree, package_test.ts on the installed package.

import * as fs from "node:fs";

/** One program of the README. */
export interface ReadmeProgram {
  readonly source: string;
  /** The lines it prints, in order. */
  readonly prints: readonly string[];
}

/** All of them, in the order of the README. */
export function readmePrograms(): ReadmeProgram[] {
  const readme = fs.readFileSync(new URL("../../README.md", import.meta.url), "utf8");
  return [...readme.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, source]) => ({
    source: source!,
    prints: [...source!.matchAll(/\/\/ prints: (.*)$/gm)].map((match) => match[1]!),
  }));
}
