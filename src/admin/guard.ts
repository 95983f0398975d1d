// Who may call: the bearer token, and, for nodes without one, the checks that keep a web page in somebody's browser from
// reaching an API on their own machine. It decides on one request at a time and holds no state but the token.

import { utf8 } from "../base/bytes.ts";
import { isLoopback } from "../config/admin_access.ts";

/** A refusal: HTTP status and the reason for the answer's body. */
export interface Refusal {
  readonly status: 401 | 403;
  readonly error: string;
}

/** Paths that need no token: probes, and the page itself, which holds no data and asks for the token. */
const OPEN_PATHS = new Set(["/", "/healthz", "/readyz"]);

/** Why a request may not go on, or `null`. `token` is `null` on a node that asks for none. */
export function checkRequest(request: Request, token: string | null): Refusal | null {
  const url = new URL(request.url);
  const foreign = foreignOrigin(request, url);
  if (foreign !== null) return { status: 403, error: `Origin is ${foreign}, wanted this node's own page` };
  if (OPEN_PATHS.has(url.pathname)) return null;
  if (token === null) {
    // A name that an attacker points at 127.0.0.1 shows in the Host header (DNS rebinding).
    if (isLoopback(url.hostname) || isNumeric(url.hostname)) return null;
    return {
      status: 403,
      error: `Host is ${url.hostname}, wanted a numeric address or localhost, as this node has no token`,
    };
  }
  const given = /^Bearer +(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (given === undefined) return { status: 401, error: "No token, wanted the header Authorization: Bearer TOKEN" };
  return sameText(given, token) ? null : { status: 401, error: "Token is not this node's" };
}

function foreignOrigin(request: Request, url: URL): string | null {
  const origin = request.headers.get("origin");
  if (origin === null || request.method === "GET" || request.method === "HEAD") return null;
  return origin === url.origin ? null : origin;
}

function isNumeric(hostname: string): boolean {
  return hostname.startsWith("[") || /^\d{1,3}(\.\d{1,3}){3}$/.test(hostname);
}

/** Compares without telling by its time where the two differ; the time goes by the length of `given` only. */
export function sameText(given: string, wanted: string): boolean {
  const a = utf8.encode(given);
  const b = utf8.encode(wanted);
  let different = a.length ^ b.length;
  for (let at = 0; at < a.length; at++) different |= a[at]! ^ b[at % b.length]!;
  return different === 0;
}
