// The error classes somebody tests for, and the two assertions. Expected outcomes of an operation are values
// (PutMessageStatus and the like), not exceptions.

/** Why an operation on the machine failed, whatever the runtime calls it. */
export type IoErrorKind =
  | "refused"
  | "reset"
  | "timeout"
  | "inUse"
  | "notFound"
  | "noSpace"
  | "permission"
  | "noAddress"
  | "closed"
  | "other";

/** Every error that leaves a runtime adapter. `code` is the system's own name (`ENOSPC`, `EIO`) where there is one. */
export class IoError extends Error {
  override readonly name = "IoError";
  readonly kind: IoErrorKind;
  readonly code: string | undefined;
  constructor(kind: IoErrorKind, message: string, code?: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
    this.code = code;
  }
}

/** A mistake in flags or configuration that the user has to mend. The command line exits with 2. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  /** Each mistake by itself, where there are several; the message has them all. */
  readonly problems: readonly string[];
  constructor(message: string, options: ErrorOptions & { readonly problems?: readonly string[] } = {}) {
    super(message, options);
    this.problems = options.problems ?? [message];
  }
}

/** The peer sent something its protocol does not allow: that connection is closed and the reason counted. */
export class ProtocolError extends Error {
  override readonly name = "ProtocolError";
}

/** The store can't be opened or can't go on; the message names the file and what to do. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

/** No file of the store has the configured size: not its damage, but a mistake of configuration. Exits with 2 like those. */
export class StoreSizeError extends StoreError {}

/** A remoting request that ends in a response code other than success. */
export class RemotingError extends Error {
  override readonly name = "RemotingError";
  /** One of Apache's `ResponseCode` values. */
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** Thrown by {@link assert}: a bug of ours. Caught only to be logged before the process ends. */
export class AssertionError extends Error {
  override readonly name = "AssertionError";
}

/** States what must be true here; its failure is our own bug. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Ends a switch over a union; fails to compile when a case is missing. */
export function assertNever(value: never): never {
  throw new AssertionError(`Unhandled case ${JSON.stringify(value)}`);
}

/** The text of anything that was thrown. */
export function errorMessage(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
