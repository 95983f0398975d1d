// The header of a remoting command, apart from how it is written: what the two codecs share.

/** The header alone. Mirrors the fields of Apache's `RemotingCommand`. */
export interface RemotingHeader {
  /** A `RequestCode`, or in a response a `ResponseCode`. */
  readonly code: number;
  /** `LanguageCode` name; `OTHER` when the peer's is unknown. */
  readonly language: string;
  /** `MQVersion` ordinal of the peer; 0 when it sent none. */
  readonly version: number;
  /** int32 chosen by the requester, copied into the response. */
  readonly opaque: number;
  readonly flag: number;
  readonly remark: string | null;
  readonly extFields: ReadonlyMap<string, string>;
}
