// A host and a port, and their one written form. Reading that form is stricter in some places than in others, so it
// stays with its owners: configuration in setting.ts, peers in remoting_address.ts.

/** A numeric or named host and a port, taken apart. */
export interface HostPort {
  readonly hostname: string;
  readonly port: number;
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatHostPort({ hostname, port }: HostPort): string {
  return hostname.includes(":") ? `[${hostname}]:${port}` : `${hostname}:${port}`;
}
