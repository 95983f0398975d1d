// What this start has decided about puts, as other masters of its name hear it: beside one that takes them, a start holds
// its own off. Whether to is other_master.ts's to find out.

import type { Random } from "../runtime/runtime.ts";
import type { PeerStart } from "./master_info_client.ts";
import type { RoleController } from "./role_controller.ts";

/** One start's. */
export class StartDecision {
  /** Tells this start of this node from every other one. */
  readonly bootId: string;
  #isDecided = false;
  #fence: string | null = null;

  constructor(random: Random) {
    this.bootId = [0, 0].map(() => random.nextInt(2 ** 31).toString(16).padStart(8, "0")).join("");
  }

  /** By `objection`, null when there is none, puts are held off; returns the reason to give to those who send. */
  decide(objection: string | null): string | null {
    this.#isDecided = true;
    return this.#fence = objection === null ? null : `Started read-only: ${objection}`;
  }

  /**
   * What becomes of puts. By hand, or for a planned switch, they are held off only for a while: whoever starts then must
   * not take them.
   */
  puts(roles: Pick<RoleController, "role" | "isPromoting">, fencedReason: string | null): PeerStart["puts"] {
    if (roles.role === "SLAVE") return roles.isPromoting ? "taken" : "none";
    if (!this.#isDecided) return "undecided";
    return this.#fence !== null && fencedReason === this.#fence ? "heldOff" : "taken";
  }
}
