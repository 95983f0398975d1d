// The states of an HA connection, for either side, and the one-shot notification of a change (the job of Apache's
// HAConnectionStateNotificationService, without its polling). It holds no connection; HAService and HAClient tell it.

/** Where a connection stands. Mirrors Apache's `HAConnectionState`; its default HA never uses HANDSHAKE and SUSPEND. */
export const HAConnectionState = {
  /** Not connected; the slave is about to connect. */
  READY: "READY",
  /** Connected, but what is exchanged does not count yet (before the first report; while the tail is compared). */
  HANDSHAKE: "HANDSHAKE",
  /** Replicating. */
  TRANSFER: "TRANSFER",
  /** Stopped until an operator decides. */
  SUSPEND: "SUSPEND",
  /** Over. */
  SHUTDOWN: "SHUTDOWN",
} as const;
export type HAConnectionState = (typeof HAConnectionState)[keyof typeof HAConnectionState];
