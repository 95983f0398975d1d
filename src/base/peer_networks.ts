// Lists of networks (`10.0.0.0/8, 192.168.1.7, fd00::/8`) and whether a peer's address is in one. Pure; what becomes of a
// peer that is not, the owner of the listener decides.

/** One network: its address's bytes, 4 or 16, and how many leading bits count. */
interface Network {
  readonly bytes: readonly number[];
  readonly bits: number;
}

/** A parsed list. */
export class PeerNetworks {
  readonly #networks: readonly Network[];

  private constructor(networks: readonly Network[]) {
    this.#networks = networks;
  }

  /** Networks separated by commas, semicolons or blanks; a bare address is a network of one. `null`: not such a list. */
  static parse(text: string): PeerNetworks | null {
    const networks = text.split(/[\s,;]+/).filter((part) => part !== "").map(parseNetwork);
    return networks.length > 0 && networks.every((network) => network !== null) ? new PeerNetworks(networks) : null;
  }

  /** Whether a numeric address, as an adapter tells it, is in one of them. */
  has(hostname: string): boolean {
    const bytes = parseAddress(normalHost(hostname));
    return bytes !== null && this.#networks.some((network) => matches(network, bytes));
  }
}

/** An IPv4 address in IPv6 clothes is the same host. */
export function normalHost(hostname: string): string {
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(hostname) ? hostname.slice("::ffff:".length) : hostname;
}

function matches({ bytes, bits }: Network, address: readonly number[]): boolean {
  if (address.length !== bytes.length) return false;
  for (let at = 0, left = bits; left > 0; at++, left -= 8) {
    const mask = left >= 8 ? 0xff : 0xff << (8 - left) & 0xff;
    if (((address[at]! ^ bytes[at]!) & mask) !== 0) return false;
  }
  return true;
}

function parseNetwork(text: string): Network | null {
  const [host, prefix, ...more] = text.split("/");
  const bytes = parseAddress(host!.replace(/^\[(.*)\]$/, "$1"));
  if (bytes === null || more.length > 0) return null;
  if (prefix === undefined) return { bytes, bits: bytes.length * 8 };
  const bits = /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
  return bits >= 0 && bits <= bytes.length * 8 ? { bytes, bits } : null;
}

/** 4 or 16 bytes; an IPv6 zone (`%eth0`) does not count. */
function parseAddress(text: string): number[] | null {
  const host = text.replace(/%.*$/, "");
  if (!host.includes(":")) return parseIPv4(host);
  const halves = host.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half, at) => parseGroups(half, at === halves.length - 1));
  if (head == null || tail === null) return null;
  if (tail === undefined) return head.length === 16 ? head : null;
  const zeros = 16 - head.length - tail.length;
  return zeros >= 2 ? [...head, ...new Array<number>(zeros).fill(0), ...tail] : null;
}

/** `isEnd`: an IPv4 address may stand at its end. */
function parseGroups(text: string, isEnd: boolean): number[] | null {
  if (text === "") return [];
  const groups = text.split(":");
  const bytes: number[] = [];
  for (const [at, group] of groups.entries()) {
    if (isEnd && at === groups.length - 1 && group.includes(".")) {
      const last = parseIPv4(group);
      if (last === null) return null;
      bytes.push(...last);
    } else if (/^[0-9a-f]{1,4}$/i.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    } else return null;
  }
  return bytes;
}

function parseIPv4(text: string): number[] | null {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1).map(Number);
  return parts !== undefined && parts.every((part) => part <= 255) ? parts : null;
}
