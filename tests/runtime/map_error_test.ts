import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IoError } from "../../src/base/errors.ts";
import { closedError, errorCode, toIoError, toListenError } from "../../src/runtime/map_error.ts";

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: it went wrong`), { code });
}

function namedError(name: string): Error {
  return Object.assign(new Error("it went wrong"), { name });
}

describe("map_error", () => {
  it("maps the system's codes", () => {
    const kinds = {
      ECONNREFUSED: "refused",
      ECONNRESET: "reset",
      EPIPE: "reset",
      ETIMEDOUT: "timeout",
      EADDRINUSE: "inUse",
      ENOENT: "notFound",
      ENOSPC: "noSpace",
      EACCES: "permission",
      EIO: "other",
    };
    for (const [code, kind] of Object.entries(kinds)) {
      const error = toIoError(systemError(code), "Try");
      assert.equal(error.kind, kind);
      assert.equal(error.code, code);
      assert.equal(error.message, `Try failed: ${code}: it went wrong`);
    }
  });

  it("maps Deno's classes that carry no code", () => {
    assert.equal(toIoError(namedError("ConnectionRefused"), "Try").kind, "refused");
    assert.equal(toIoError(namedError("BrokenPipe"), "Try").kind, "reset");
    assert.equal(toIoError(namedError("NotCapable"), "Try").kind, "permission");
    assert.equal(toIoError(namedError("BadResource"), "Try").kind, "other");
  });

  it("keeps the cause, and an IoError as it is", () => {
    const cause = systemError("ENOSPC");
    const error = toIoError(cause, "Write");
    assert.equal(error.cause, cause);
    assert.equal(toIoError(error, "Again"), error);
    assert.equal(closedError("Read").kind, "closed");
  });

  it("tells why a listener can't be, whatever the runtime leaves out", () => {
    const bun = Object.assign(new Error("Failed to listen at 0.0.0.0"), { code: "EACCES" });
    assert.equal(
      toListenError(bun, "0.0.0.0", 876).message,
      "Listen on 0.0.0.0:876 failed: Failed to listen at 0.0.0.0 (permission denied, EACCES)",
    );
    assert.equal(toListenError(new Error("Failed to listen at no.host"), "no.host", 1).code, "ENOTFOUND");
    assert.equal(toListenError(systemError("EADDRNOTAVAIL"), "192.0.2.9", 1).kind, "noAddress");
    assert.equal(toListenError(systemError("EADDRINUSE"), "no.host", 1).kind, "inUse");
    assert.equal(toListenError(systemError("EINVAL"), "10.0.0.1", 1).kind, "other");
  });

  it("takes anything that can be thrown", () => {
    for (const thrown of [undefined, null, "text", 7, {}]) {
      const error = toIoError(thrown, "Try");
      assert.ok(error instanceof IoError);
      assert.equal(error.kind, "other");
      assert.equal(errorCode(thrown), undefined);
    }
  });
});
