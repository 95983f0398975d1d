// The port through which a pull's subscription decides about messages: first by what a consume queue entry holds, then by
// the record's properties. The broker's filters implement it; the message reader asks it.

/** Mirrors Apache's `MessageFilter`. Methods are pure and never throw. */
export interface MessageFilter {
  /** By the hash of the entry's tag; null: it is unknown, and matches. */
  isMatchedByConsumeQueue(tagsCode: number | null): boolean;
  /** false: {@link isMatchedByCommitLog} is never asked and records need not be decoded. */
  readonly needsProperties: boolean;
  /** By the properties of the record. */
  isMatchedByCommitLog(properties: ReadonlyMap<string, string>): boolean;
}
