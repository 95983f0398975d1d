// Turns what a runtime throws into IoError, so that callers test one kind, whatever the runtime calls it. It knows the
// system's error names and Deno's error classes; the adapters and node_fs.ts call it at their edge.

import { IoError, type IoErrorKind } from "../base/errors.ts";

const KIND_OF_CODE: Readonly<Record<string, IoErrorKind>> = {
  ECONNREFUSED: "refused",
  ECONNRESET: "reset",
  ECONNABORTED: "reset",
  EPIPE: "reset",
  ENOTCONN: "reset",
  ETIMEDOUT: "timeout",
  EADDRINUSE: "inUse",
  ENOENT: "notFound",
  ENOSPC: "noSpace",
  EDQUOT: "noSpace",
  EACCES: "permission",
  EPERM: "permission",
  EROFS: "permission",
};

// Deno's classes, for errors that carry no system code.
const CODE_OF_NAME: Readonly<Record<string, string>> = {
  ConnectionRefused: "ECONNREFUSED",
  ConnectionReset: "ECONNRESET",
  ConnectionAborted: "ECONNABORTED",
  BrokenPipe: "EPIPE",
  NotConnected: "ENOTCONN",
  TimedOut: "ETIMEDOUT",
  AddrInUse: "EADDRINUSE",
  NotFound: "ENOENT",
  AlreadyExists: "EEXIST",
  PermissionDenied: "EACCES",
  NotCapable: "EACCES",
};

/** The system's name of an error (`ENOSPC`), if it has one. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { code, name } = error as { code?: unknown; name?: unknown };
  if (typeof code === "string") return code;
  return typeof name === "string" ? CODE_OF_NAME[name] : undefined;
}

/** The {@link IoError} for `error`; `action` says what was tried (`Open "/a/b"`). An IoError comes back as it is. */
export function toIoError(error: unknown, action: string): IoError {
  if (error instanceof IoError) return error;
  const code = errorCode(error);
  const kind = (code === undefined ? undefined : KIND_OF_CODE[code]) ?? "other";
  const detail = error instanceof Error ? error.message : String(error);
  return new IoError(kind, `${action} failed: ${detail}`, code, { cause: error });
}

/** What a pending or later call gets once its own side closed the thing. */
export function closedError(action: string): IoError {
  return new IoError("closed", `${action} failed: closed on this side`);
}

const KIND_OF_ADDRESS_CODE = new Set(["EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN", "EAI_NONAME", "EAI_NODATA"]);
const DETAIL_OF_CODE: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EADDRNOTAVAIL: "no address of this machine",
  EADDRINUSE: "in use",
};

/**
 * {@link toIoError} for a listener: `noAddress` for a host that is not this machine's, or none. A name that has no address
 * comes without a code from Deno and Bun, and as EINVAL from Bun's HTTP server; nothing else does. Bun's message names no
 * reason.
 */
export function toListenError(error: unknown, hostname: string, port: number): IoError {
  const action = `Listen on ${hostname}:${port}`;
  const { kind, code, message } = toIoError(error, action);
  const isNameless = (code === undefined || code === "EINVAL") && !/^[\d.]+$|:/.test(hostname);
  const reason = isNameless ? "ENOTFOUND" : code;
  const detail = reason === undefined || message.includes(reason)
    ? message
    : `${message} (${DETAIL_OF_CODE[reason] === undefined ? "" : `${DETAIL_OF_CODE[reason]}, `}${reason})`;
  const isAddress = reason !== undefined && KIND_OF_ADDRESS_CODE.has(reason);
  return new IoError(isAddress ? "noAddress" : kind, detail, reason, { cause: error });
}
