// Which role a node starts in: by its flags, unless it was switched at run time, which the role file remembers.

import { StoreError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { Config } from "../config/schema.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { RoleFile, SavedRole } from "./role_file.ts";

/** What the decision goes by. */
export interface InitialRoleParts {
  readonly config: Pick<Config, "brokerRole" | "brokerId" | "haMasterAddress" | "forceRole">;
  readonly clock: Pick<Clock, "now">;
  readonly logger: Logger;
}

/** Flags, unless a role was switched at run time; that one is said. Throws {@link StoreError} for a file that makes no sense. */
export function initialRole(file: RoleFile, { config, clock, logger }: InitialRoleParts): SavedRole {
  const { brokerRole, brokerId, haMasterAddress, forceRole } = config;
  const given: SavedRole = { brokerRole, brokerId, masterAddress: haMasterAddress, promotedAt: 0 };
  if (forceRole) {
    const forced = { ...given, promotedAt: promotedByForce(file, given, clock.now()) };
    file.save(forced);
    return forced;
  }
  const saved = file.load();
  if (saved === null) return given;
  const role: SavedRole = { ...saved, masterAddress: saved.masterAddress ?? haMasterAddress };
  const inForce = roleText(role);
  if (inForce !== roleText(given)) {
    logger.warn(
      `Starting as ${inForce}, to which this node was switched at run time, not as ${roleText(given)}; ` +
        "--force-role goes by the flags",
      { saved: file.path },
    );
  }
  return role;
}

/** Who was a slave is promoted by --force-role; who was a master stays what it was. A file that makes no sense says nothing. */
function promotedByForce(file: RoleFile, given: SavedRole, now: number): number {
  let saved: SavedRole | null = null;
  try {
    saved = file.load();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
  }
  if (saved === null || given.brokerRole === "SLAVE") return saved?.promotedAt ?? 0;
  return saved.brokerRole === "SLAVE" ? now : saved.promotedAt;
}

/** What of a role shows in the flags; a master's address is nobody's business. */
function roleText({ brokerRole, brokerId, masterAddress }: SavedRole): string {
  if (brokerRole !== "SLAVE") return brokerRole;
  return masterAddress === null ? `SLAVE ${brokerId}` : `SLAVE ${brokerId} of master ${masterAddress}`;
}
