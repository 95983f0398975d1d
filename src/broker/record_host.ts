// Hosts as records hold them: 4 or 16 address bytes and a port, made from the texts that connections and settings have.

import type { RecordHost } from "../store/types.ts";

const LOOPBACK = new Uint8Array([127, 0, 0, 1]);

/** `host:port` of a peer as a record has it; a host that is no address is written as the loopback one. */
export function hostOfAddress(address: string): RecordHost {
  const at = address.lastIndexOf(":");
  return { address: addressBytes(address.slice(0, at).replace(/^\[|\]$/g, "")), port: Number(address.slice(at + 1)) };
}

/** The first host that is an address, else the loopback one, and a port that is known later: asked for when it is needed first. */
export function hostWithPort(hosts: readonly string[], port: () => number): RecordHost {
  let known: number | null = null;
  return {
    address: hosts.map(bytesOf).find((bytes) => bytes !== null) ?? LOOPBACK,
    get port() {
      return known ??= port();
    },
  };
}

/** Bytes of an IPv4 or IPv6 address; of 127.0.0.1 when the text is neither. */
function addressBytes(ip: string): Uint8Array {
  return bytesOf(ip) ?? LOOPBACK;
}

function bytesOf(ip: string): Uint8Array | null {
  const octets = /^(?:::ffff:)?(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/i.exec(ip)?.slice(1).map(Number);
  if (octets !== undefined) return octets.every((octet) => octet <= 255) ? new Uint8Array(octets) : null;
  return ipv6Bytes(ip);
}

function ipv6Bytes(ip: string): Uint8Array | null {
  const halves = ip.split("%")[0]!.split("::");
  if (!ip.includes(":") || halves.length > 2) return null;
  const groups = halves.map((half) => half === "" ? [] : half.split(":"));
  const missing = 8 - groups.flat().length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null;
  const all = halves.length === 1 ? groups[0]! : [...groups[0]!, ...Array<string>(missing).fill("0"), ...groups[1]!];
  const bytes = new Uint8Array(16);
  for (const [index, group] of all.entries()) {
    if (!/^[0-9a-f]{1,4}$/i.test(group)) return null;
    const value = parseInt(group, 16);
    bytes[2 * index] = value >>> 8;
    bytes[2 * index + 1] = value & 0xff;
  }
  return bytes;
}
