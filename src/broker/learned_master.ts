// What a slave was told about its master: by a NameServer's answers, or by a peer. It only remembers and passes on; whom
// to follow is RoleController's decision.

import type { Logger } from "../base/logger.ts";
import type { NamesrvState, RegisterBrokerResult } from "./broker_outer_api.ts";
import type { RoleController } from "./role_controller.ts";
import type { SlaveSynchronize } from "./slave_synchronize.ts";

/** Which remoting address goes with a master's HA address: as told by a NameServer or the master, else port - 1. */
export class LearnedMaster {
  readonly #logger: Logger;
  #haAddress: string | null = null;
  #remotingAddress: string | null = null;
  #said: string | null = null;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** The two go together from now on. */
  set(haAddress: string, remotingAddress: string): void {
    this.#haAddress = haAddress;
    this.#remotingAddress = remotingAddress;
  }

  /** Remoting address that goes with an HA address, both `host:port`; null, which is said once, where none can. */
  remotingOf(haAddress: string): string | null {
    if (haAddress === this.#haAddress && this.#remotingAddress !== null) return this.#remotingAddress;
    const at = haAddress.lastIndexOf(":");
    const port = Number(haAddress.slice(at + 1)) - 1;
    if (port > 0) return `${haAddress.slice(0, at)}:${port}`;
    if (haAddress !== this.#said) {
      this.#logger.warn(
        `Master ${haAddress} has no port below its HA port, where its remoting port would be: the lag is unknown and its ` +
          "tables are not copied",
      );
    }
    this.#said = haAddress;
    return null;
  }
}

/** Says that a slave still looks for its master, and where: else a mistyped name waits in silence for ever. */
export class MissingMaster {
  readonly #parts: MissingMasterParts;
  #said: string | null = null;

  constructor(parts: MissingMasterParts) {
    this.#parts = parts;
  }

  /** A NameServer has answered; `haServerAddr` is what they name, and it was of no use when the slave `awaits` one. */
  told(awaits: boolean, haServerAddr: string | null): void {
    const { config, logger, states } = this.#parts;
    if (!awaits) {
      this.#said = null;
      return;
    }
    // One of them may know it that has not answered yet.
    if (states().some(({ registered }) => registered === null)) return;
    const where = `at the NameServer ${states().flatMap((one) => one.registered ? [one.address] : []).join(", ")}`;
    const message = haServerAddr === null
      ? `No master named "${config.brokerName}" ${where} yet, following nobody; it is asked for again and again`
      : `The master named "${config.brokerName}" ${where} has this node's own HA address, ${haServerAddr}: following nobody`;
    if (message !== this.#said) logger.warn(message);
    this.#said = message;
  }
}

/** What {@link MissingMaster} needs. */
export interface MissingMasterParts {
  readonly config: { readonly brokerName: string };
  readonly logger: Logger;
  /** How registering stands, by NameServer. */
  readonly states: () => readonly NamesrvState[];
}

/** The job of Apache's `updateMasterHAServerAddrPeriodically`. */
export function learnFromNamesrv(
  { haServerAddr, masterAddr }: RegisterBrokerResult,
  parts: { learned: LearnedMaster; roles: RoleController; slaveSynchronize: SlaveSynchronize; missing: MissingMaster },
): void {
  const { learned, roles, slaveSynchronize, missing } = parts;
  if (roles.role !== "SLAVE") return;
  if (haServerAddr !== null && masterAddr !== null) learned.set(haServerAddr, masterAddr);
  if (haServerAddr !== null) roles.learnMasterAddress(haServerAddr, "NameServer");
  missing.told(roles.awaitsMaster, haServerAddr);
  const { masterAddress } = roles;
  if (masterAddress !== null) slaveSynchronize.setMasterAddr(learned.remotingOf(masterAddress));
}
