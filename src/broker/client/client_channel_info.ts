// A client as this broker knows it: one registration of a connection. The managers beside this file keep them, whoever
// wants to talk to a client takes the connection from here.

import type { RemotingConnection } from "../../remoting/remoting_connection.ts";

/** One client on one connection. Mirrors Apache's `ClientChannelInfo`. */
export interface ClientChannelInfo {
  readonly connection: RemotingConnection;
  /** `ip@instance[@unit]`, as the client calls itself. */
  readonly clientId: string;
  /** Name of its language, `JAVA`. */
  readonly language: string;
  /** Its `MQVersion` ordinal. */
  readonly version: number;
  /** Unix ms of its last heartbeat. */
  readonly lastUpdateTimestamp: number;
}

/** A registration inside a manager. */
export interface Channel extends ClientChannelInfo {
  lastUpdateTimestamp: number;
  /** The same moment on the clock that nobody sets: expiry goes by it. */
  lastSeenMs: number;
}
