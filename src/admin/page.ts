// `GET /`: one self-contained page over /ha's figures. It needs nothing from outside, works offline, on a phone, in light
// and dark. This file holds the markup and the headers; page_style.ts,
// page_script.ts and page_clients_script.ts the rest.

import { utf8 } from "../base/bytes.ts";
import { toBase64 } from "./message_view.ts";
import { PAGE_CLIENTS_SCRIPT } from "./page_clients_script.ts";
import { PAGE_SCRIPT } from "./page_script.ts";
import { PAGE_STYLE } from "./page_style.ts";

const BODY = `
<header>
  <div class="brand"><svg viewBox="0 0 24 24" aria-hidden="true"><rect x="3" y="4" width="7" height="16" rx="2"/><rect x="14" y="4" width="7" height="16" rx="2" class="twin"/></svg>
    <h1 id="name">Twinlog</h1><span id="role" class="pill">connecting</span></div>
  <div class="live"><span id="dot" class="dot"></span><span id="live">connecting</span></div>
</header>
<p id="alert" class="alert" role="alert" hidden></p>
<main>
  <section class="tiles" id="tiles" aria-label="Offsets"></section>
  <section class="card wide">
    <h2>Lag <small id="lag-hint">bytes behind the master, last 5 minutes</small></h2>
    <div id="chart" class="chart"><svg role="img" aria-label="Lag over time"></svg><div id="tip" class="tip" hidden></div></div>
    <div id="legend" class="legend"></div>
  </section>
  <section class="card wide">
    <h2 id="peers-title">Slaves</h2>
    <div class="scroll"><table><thead id="peers-head"></thead><tbody id="peers"></tbody></table></div>
    <p id="peers-empty" class="empty"></p>
  </section>
  <section class="card wide">
    <h2>Topics <small><label><input type="checkbox" id="topics-system"> with the system's own</label></small></h2>
    <div class="scroll"><table><thead id="topics-head"></thead><tbody id="topics"></tbody></table></div>
    <p id="topics-empty" class="empty"></p>
  </section>
  <section class="card wide">
    <h2>Consumer groups</h2>
    <div class="scroll"><table><thead id="groups-head"></thead><tbody id="groups"></tbody></table></div>
    <p id="groups-empty" class="empty"></p>
    <div id="group-detail" hidden></div>
  </section>
  <section class="card wide">
    <h2>Messages</h2>
    <form id="view-form">
      <input id="view-topic" list="topic-names" placeholder="topic" autocomplete="off" spellcheck="false" aria-label="Topic" required>
      <select id="view-by" aria-label="Find by"><option value="queue">newest, or queue:offset</option><option value="key">key</option><option value="id">message id</option></select>
      <input id="view-value" placeholder="queue:offset, empty for the newest" autocomplete="off" spellcheck="false" aria-label="Value">
      <button>Show</button>
    </form>
    <datalist id="topic-names"></datalist>
    <p id="view-error" class="error" role="alert"></p>
    <div id="messages" class="messages"></div>
    <h2>Send a test message</h2>
    <form id="send-form">
      <input id="send-topic" list="topic-names" placeholder="topic" autocomplete="off" spellcheck="false" aria-label="Topic" required>
      <input id="send-tags" placeholder="tag" autocomplete="off" spellcheck="false" aria-label="Tag">
      <input id="send-keys" placeholder="keys" autocomplete="off" spellcheck="false" aria-label="Keys">
      <textarea id="send-body" rows="2" placeholder="body" aria-label="Body" required></textarea>
      <button>Send</button>
    </form>
    <p id="send-result" class="hint" role="status"></p>
  </section>
  <section class="card"><h2>Addresses</h2><dl id="addresses"></dl></section>
  <section class="card">
    <h2>Role</h2>
    <p class="hint">Switches at run time without losing a byte, and is saved in the store.</p>
    <form id="role-form">
      <select id="role-select" aria-label="New role"><option value="ASYNC_MASTER">ASYNC_MASTER</option><option value="SYNC_MASTER">SYNC_MASTER</option><option value="SLAVE">SLAVE</option></select>
      <input id="role-master" placeholder="master HA address, HOST:PORT" autocomplete="off" spellcheck="false" aria-label="Master to follow" hidden>
      <button>Switch role</button>
    </form>
    <h2>Master address</h2>
    <p class="hint">What this slave follows; empty stops following.</p>
    <form id="address-form">
      <input id="address-input" placeholder="HOST:PORT" autocomplete="off" spellcheck="false" aria-label="Master address">
      <button>Change</button>
    </form>
  </section>
</main>
<footer><span id="foot"></span><nav><a href="openapi.json">openapi.json</a> <a href="metrics">metrics</a> <button id="token-open" class="link">token</button></nav></footer>
<dialog id="confirm"><form method="dialog"><h2 id="confirm-title"></h2><p id="confirm-text"></p><p id="confirm-error" class="error" role="alert"></p>
  <label id="force-label" hidden><input type="checkbox" id="force"> Do it all the same (force)</label>
  <menu><button value="no">Cancel</button><button id="confirm-yes" class="danger">Confirm</button></menu></form></dialog>
<dialog id="token"><form method="dialog"><h2>Token</h2><p>The admin token of this node. It is kept until this tab is closed.</p>
  <input id="token-input" type="password" autocomplete="off" aria-label="Token"><menu><button value="no">Cancel</button><button value="yes">Use it</button></menu></form></dialog>
`;

const SCRIPT = PAGE_SCRIPT + PAGE_CLIENTS_SCRIPT;

/** The page. */
export const PAGE_HTML = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Twinlog</title><link rel="icon" href="data:,">
<style>${PAGE_STYLE}</style></head><body>${BODY}<script>${SCRIPT}</script></body></html>
`;

/** Its headers: nothing from outside, no framing (somebody else's page must not lay itself over the switches). */
export async function pageHeaders(): Promise<Record<string, string>> {
  const hash = toBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8.encode(SCRIPT))));
  const policy = [
    "default-src 'none'",
    `script-src 'sha256-${hash}'`,
    "style-src 'unsafe-inline'",
    "img-src data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ];
  return {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": policy.join("; "),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
  };
}
