// The message about a port that can't be bound: which flag it comes from and what to give instead. It binds nothing itself.

import { ConfigError, IoError } from "../base/errors.ts";
import { formatHostPort, type HostPort } from "../base/host_port.ts";

/** Where a port comes from. */
export interface PortSetting {
  /** What listens there, beginning a sentence: `HA port`. */
  readonly what: string;
  /** `--ha-listen-port`. */
  readonly flag: string;
  /** The flag that its address comes from. */
  readonly hostFlag: string;
  /** The flag it goes by while its own is not given, with that one's value. */
  readonly goesBy?: string;
}

/**
 * Waits until the port is bound; an {@link IoError} gets the words that help whoever started the node. What another start
 * would not mend, a port that is not allowed, becomes a {@link ConfigError}. An address that is not this machine's may be
 * just that at boot, until its interface or its resolver is there: a service manager has to try again.
 */
export async function binding<T>(bound: Promise<T>, address: HostPort, setting: PortSetting): Promise<T> {
  try {
    return await bound;
  } catch (error) {
    if (!(error instanceof IoError)) throw error;
    const { flag, hostFlag } = setting;
    if (error.kind === "noAddress") {
      const seen = `${hostFlag} is "${address.hostname}"`;
      const message = `${seen}, wanted an address of this machine (${error.code})`;
      throw new IoError(error.kind, message, error.code, { cause: error });
    }
    if (error.kind === "permission") {
      const seen = `${flag}: ${formatHostPort(address)}`;
      throw new ConfigError(
        `${seen} may not be used by this user (${error.code}), wanted a port from 1024 on, or rights`,
        {
          cause: error,
        },
      );
    }
    throw new IoError(error.kind, portMessage(error, address, setting), error.code, { cause: error });
  }
}

function portMessage(error: IoError, address: HostPort, { what, flag, goesBy }: PortSetting): string {
  if (error.kind !== "inUse") return `Can't use ${flag}: ${error.message}`;
  const taken = `${what} ${formatHostPort(address)} is in use`;
  if (goesBy === undefined) return `${taken}, give another ${flag}`;
  return `${taken}: it goes by ${goesBy} unless ${flag} is given, give another of the two`;
}
