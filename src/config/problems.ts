// Mistakes of one configuration, gathered so that all of them are told at once, not one at each start.

import { ConfigError } from "../base/errors.ts";

/** What was wrong so far. */
export class Problems {
  readonly #messages: string[] = [];

  /** Runs `step`; a {@link ConfigError} of it is kept for {@link throwIfAny}. */
  try(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      this.#messages.push(error.message);
    }
  }

  /** Throws one {@link ConfigError} that has them all, if there were any. */
  throwIfAny(): void {
    const problems = this.#messages;
    if (problems.length > 0) throw new ConfigError(problems.join("; "), { problems });
  }
}
