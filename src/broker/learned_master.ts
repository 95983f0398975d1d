// What a slave was told about its master: by a NameServer's answers, or by a peer. It only remembers and passes on; whom
// to follow is RoleController's decision.

import type { RegisterBrokerResult } from "./broker_outer_api.ts";
import type { RoleController } from "./role_controller.ts";
import type { SlaveSynchronize } from "./slave_synchronize.ts";

/** Which remoting address goes with a master's HA address: as told by a NameServer or the master, else port - 1. */
export class LearnedMaster {
  #haAddress: string | null = null;
  #remotingAddress: string | null = null;

  /** The two go together from now on. */
  set(haAddress: string, remotingAddress: string): void {
    this.#haAddress = haAddress;
    this.#remotingAddress = remotingAddress;
  }

  /** Remoting address that goes with an HA address, both `host:port`. */
  remotingOf(haAddress: string): string {
    if (haAddress === this.#haAddress && this.#remotingAddress !== null) return this.#remotingAddress;
    const at = haAddress.lastIndexOf(":");
    return `${haAddress.slice(0, at)}:${Number(haAddress.slice(at + 1)) - 1}`;
  }
}

/** The job of Apache's `updateMasterHAServerAddrPeriodically`. */
export function learnFromNamesrv(
  { haServerAddr, masterAddr }: RegisterBrokerResult,
  parts: { learned: LearnedMaster; roles: RoleController; slaveSynchronize: SlaveSynchronize },
): void {
  const { learned, roles, slaveSynchronize } = parts;
  if (roles.role !== "SLAVE") return;
  if (haServerAddr !== null && masterAddr !== null) learned.set(haServerAddr, masterAddr);
  if (haServerAddr !== null) roles.learnMasterAddress(haServerAddr, "NameServer");
  const { masterAddress } = roles;
  if (masterAddress !== null) slaveSynchronize.setMasterAddr(learned.remotingOf(masterAddress));
}
