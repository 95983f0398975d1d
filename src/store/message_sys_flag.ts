// The bits of a record's sysFlag and what can be asked of them. Pure; who sets them decides elsewhere.

/** Bits of a record's `sysFlag`. Mirrors Apache's `MessageSysFlag`. */
export const MessageSysFlag = {
  COMPRESSED: 0x1,
  MULTI_TAGS: 0x2,
  TRANSACTION_NOT: 0x0,
  TRANSACTION_PREPARED: 0x4,
  TRANSACTION_COMMIT: 0x8,
  TRANSACTION_ROLLBACK: 0xc,
  TRANSACTION_MASK: 0xc,
  /** The born host holds 16 address bytes instead of 4. */
  BORNHOST_V6: 0x10,
  /** The store host holds 16 address bytes instead of 4. */
  STOREHOST_V6: 0x20,
  NEED_UNWRAP: 0x40,
  INNER_BATCH: 0x80,
  COMPRESSION_TYPE_MASK: 0x700,
} as const;

/** Whether a record gets a consume queue entry and takes a queue offset: not when prepared or rolled back. */
export function isConsumable(sysFlag: number): boolean {
  const transaction = sysFlag & MessageSysFlag.TRANSACTION_MASK;
  return transaction === MessageSysFlag.TRANSACTION_NOT || transaction === MessageSysFlag.TRANSACTION_COMMIT;
}
