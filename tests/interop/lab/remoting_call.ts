// One request to a broker's remoting port, spoken by hand so that the tests lean on nothing of ours: JSON header, one
// connection each. Used to steer Apache nodes: which master to follow (906), how far the log reaches (28).

import * as net from "node:net";

/** A broker's answer. `extFields` and `remark` as they came. */
export interface RemotingAnswer {
  readonly code: number;
  readonly remark: string | null;
  readonly extFields: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

/** Sends one request to a loopback port; rejects when no whole answer came within `limitMs`. */
export function remotingCall(
  port: number,
  code: number,
  extFields: Record<string, string> = {},
  limitMs = 5000,
): Promise<RemotingAnswer> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
    const timer = setTimeout(() => socket.destroy(new Error(`No answer to ${code} within ${limitMs} ms`)), limitMs);
    let received = Buffer.alloc(0);
    socket.on("connect", () => socket.write(request(code, extFields)));
    socket.on("data", (bytes) => {
      received = Buffer.concat([received, bytes]);
      if (received.length < 4 || received.length < 4 + received.readInt32BE(0)) return;
      resolve(answer(received));
      socket.destroy();
    });
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(timer);
      reject(new Error(`Connection to ${port} closed before the answer to ${code}`));
    });
  });
}

/** Frame: total length, header length (its first byte 0 says JSON), header; no body. */
function request(code: number, extFields: Record<string, string>): Buffer {
  const header = Buffer.from(
    JSON.stringify({
      code,
      extFields,
      flag: 0,
      language: "JAVA",
      opaque: 1,
      serializeTypeCurrentRPC: "JSON",
      version: 465,
    }),
  );
  const lengths = Buffer.alloc(8);
  lengths.writeInt32BE(4 + header.length, 0);
  lengths.writeInt32BE(header.length, 4);
  return Buffer.concat([lengths, header]);
}

function answer(frame: Buffer): RemotingAnswer {
  const end = 4 + frame.readInt32BE(0);
  const headerSize = frame.readInt32BE(4) & 0xff_ffff;
  const header = JSON.parse(frame.toString("utf8", 8, 8 + headerSize));
  return {
    code: header.code,
    remark: header.remark ?? null,
    extFields: header.extFields ?? {},
    body: frame.subarray(8 + headerSize, end),
  };
}

/** The figures of GET_BROKER_RUNTIME_INFO (28) by name; null while the broker can't tell, as in its first second. */
export async function runtimeInfo(port: number): Promise<Record<string, string> | null> {
  const { code, body } = await remotingCall(port, 28);
  return code === 0 ? JSON.parse(body.toString("utf8")).table : null;
}

/** Tells an Apache slave whom to follow (EXCHANGE_BROKER_HA_INFO, 906): 5.3.3 takes it from nowhere else but a NameServer. */
export async function followByRemoting(port: number, master: { ha: string; remoting: string }): Promise<void> {
  const { code, remark } = await remotingCall(port, 906, {
    masterHaAddress: master.ha,
    masterAddress: master.remoting,
    masterFlushOffset: "0",
  });
  if (code !== 0) throw new Error(`906 was answered with ${code}: ${remark}`);
}
