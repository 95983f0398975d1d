// Who may call: the bearer token, and, for nodes without one, the checks that keep a web page in somebody's browser from
// reaching an API on their own machine. It decides on one request at a time and holds no state but the token.

import { utf8 } from "../base/bytes.ts";
import { quoted } from "../base/printable.ts";
import { isLoopback } from "../config/admin_access.ts";

/** A refusal: HTTP status and the reason for the answer's body. */
export interface Refusal {
  readonly status: 400 | 401 | 403;
  readonly error: string;
}

/** Paths that need no token: probes, and the page itself, which holds no data and asks for the token. */
export const OPEN_PATHS = new Set(["/", "/healthz", "/readyz"]);

/** Headers of every answer that doesn't bring its own: nothing is sniffed, framed, run, kept or read by other sites. */
export const SAFE_HEADERS: Readonly<Record<string, string>> = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "cache-control": "no-store",
};

/**
 * Why a request may not go on, or `null`. `path` is what its route is found by: where a runtime hands on a target such as
 * `http://HOST?/ha` as it came, the request's URL shows another. `token` is `null` on a node that asks for none.
 */
export function checkRequest(request: Request, path: string, token: string | null): Refusal | null {
  // What a runtime makes of a Host header that is none differs: a URL that can't be, or one that hides a name.
  const host = request.headers.get("host");
  const url = URL.canParse(request.url) ? new URL(request.url) : null;
  if (url === null || (host !== null && (!/^[^\s@/\\?#]+$/.test(host) || hostOf(`http://${host}`) !== url.host))) {
    return {
      status: 400,
      error: `Host is ${quoted(host ?? "")}, wanted HOST or HOST:PORT, and the same in the request`,
    };
  }
  const foreign = foreignSite(request, path, url);
  if (foreign !== null) return { status: 403, error: `${foreign}, wanted this node's own page` };
  if (OPEN_PATHS.has(path)) return null;
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

/**
 * What tells that another site's page asks (CSRF), or null. Programs send neither header. A proxy that adds TLS changes
 * the origin's scheme, so only its host is compared.
 */
function foreignSite(request: Request, path: string, url: URL): string | null {
  const origin = request.headers.get("origin");
  if (origin !== null && hostOf(origin) !== url.host) return `Origin is ${quoted(origin)}`;
  const site = request.headers.get("sec-fetch-site");
  if (site === null || site === "same-origin" || site === "none") return null;
  // A link to the page is fine: it holds no data.
  const isLink = request.method === "GET" && path === "/" && request.headers.get("sec-fetch-mode") === "navigate";
  return isLink ? null : `Sec-Fetch-Site is ${quoted(site)}`;
}

function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null;
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
