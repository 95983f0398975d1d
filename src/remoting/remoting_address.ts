// Addresses as configuration and peers write them: "host:port", "[v6]:port", lists with ";".

import { formatHostPort, type HostPort } from "../base/host_port.ts";

/** Characters of a host; names have at most 253. */
const HOST_MAX = 255;

/** `host:port`, the port 1..65535, or `[v6]:port` (or, as Java prints it, `v6:port`); null when it is neither. */
export function parseRemotingAddress(text: string): HostPort | null {
  const colon = text.lastIndexOf(":");
  if (colon <= 0) return null;
  const digits = text.slice(colon + 1);
  const port = Number(digits);
  if (!/^\d{1,5}$/.test(digits) || port < 1 || port > 65535) return null;
  let hostname = text.slice(0, colon).trim();
  if (hostname.startsWith("[") && hostname.endsWith("]")) hostname = hostname.slice(1, -1);
  if (hostname === "" || hostname.length > HOST_MAX || /[\s/\p{C}]/u.test(hostname)) return null;
  return { hostname, port };
}

/** The addresses of `namesrvAddr`, which separates them by semicolons; blanks and repetitions are dropped. */
export function splitAddressList(text: string): string[] {
  return [...new Set(text.split(";").map((part) => part.trim()).filter((part) => part !== ""))];
}

/** The "VIP" port beside a broker's main port (main - 2); the address itself when it can't be read. */
export function vipAddress(address: string): string {
  const parsed = parseRemotingAddress(address);
  if (parsed === null || parsed.port <= 2) return address;
  return formatHostPort({ ...parsed, port: parsed.port - 2 });
}
