// The broker's HA side as requests 906 and 907 see it: BrokerHAPort over the drivers and the role.

import { parseRemotingAddress } from "../remoting/remoting_address.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { BrokerIdentity } from "./broker_outer_api.ts";
import type { HAClientDriver } from "./ha_client_driver.ts";
import type { HAMasterDriver } from "./ha_master_driver.ts";
import type { LearnedMaster } from "./learned_master.ts";
import type { BrokerHAPort } from "./processors/ports.ts";
import type { RoleController } from "./role_controller.ts";

/** What it looks at. */
export interface BrokerHAPortParts {
  readonly clock: Clock;
  readonly store: { readonly maxOffset: number };
  readonly masterDriver: HAMasterDriver;
  readonly clientDriver: HAClientDriver;
  readonly roles: RoleController;
  readonly learned: LearnedMaster;
  /** End of the log when the node started, bytes. */
  readonly bootMaxOffset: number;
  readonly identity: () => BrokerIdentity;
  /** Whether an HA address is this node's own. */
  readonly isOwnAddress: (haAddress: string) => boolean;
}

/** Implements {@link BrokerHAPort} for a broker. */
export function brokerHAPort(parts: BrokerHAPortParts): BrokerHAPort {
  const { clock, store, masterDriver, clientDriver, roles, learned, bootMaxOffset, identity, isOwnAddress } = parts;
  return {
    haInfo: () => {
      if (roles.role === "SLAVE") return null;
      const { haServerAddr, brokerAddr } = identity();
      return { masterHaAddress: haServerAddr, masterFlushOffset: bootMaxOffset, masterAddress: brokerAddr };
    },
    adoptMaster: ({ masterHaAddress, masterAddress }) => {
      if (roles.role !== "SLAVE") return `This broker is a ${roles.role}, only a SLAVE adopts a master`;
      if (parseRemotingAddress(masterHaAddress) === null) {
        return `masterHaAddress is "${masterHaAddress.slice(0, 80)}", wanted HOST:PORT`;
      }
      if (isOwnAddress(masterHaAddress)) {
        return `masterHaAddress ${masterHaAddress} is this broker's own HA address`;
      }
      if (masterAddress !== null) learned.set(masterHaAddress, masterAddress);
      roles.adoptMasterAddress(masterHaAddress);
      return null;
    },
    haRuntimeInfo: () => {
      const info = masterDriver.service.runtimeInfo(clock.monotonic());
      if (info.master) return info;
      const { masterAddress, transferredByteInSecond, lastReadTimestamp, lastWriteTimestamp } = clientDriver.status;
      return {
        ...info,
        haClientRuntimeInfo: {
          masterAddr: masterAddress,
          transferredByteInSecond,
          maxOffset: store.maxOffset,
          lastReadTimestamp,
          lastWriteTimestamp,
          masterFlushOffset: 0,
        },
      };
    },
  };
}
