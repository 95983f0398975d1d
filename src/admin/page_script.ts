// The script of the page at `/`, as text: it runs in a browser, never here. It reads /events by fetch, which can send the
// token, draws the figures, and asks before it changes anything. Whatever comes from the node is set as text, never as markup.

/** Plain JavaScript without backquotes or template strings. */
export const PAGE_SCRIPT = String.raw`
"use strict";
const clock = Date.now, later = setTimeout;
const $ = (id) => document.getElementById(id);
const KEEP_MS = 300000;
const lags = new Map(); // series name -> [{t, v}]
let last = null;
let ended = 0;

function node(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children.map((child) => child === null || child === undefined ? "" : child));
  return made;
}
const whole = (value) => value === null ? "–" : value.toLocaleString("en-US");
function bytes(value) {
  if (value === null || value === undefined) return "unknown";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (Math.abs(value) >= 1024 && at < units.length - 1) { value /= 1024; at++; }
  return (at === 0 ? value : value.toFixed(value < 10 ? 2 : 1)) + " " + units[at];
}
function age(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  return s < 90 ? s + " s" : s < 5400 ? Math.floor(s / 60) + " min" : s < 172800 ? Math.floor(s / 3600) + " h" : Math.floor(s / 86400) + " d";
}
const token = () => sessionStorage.getItem("twinlog-token");
const headers = (more) => Object.assign(token() ? { authorization: "Bearer " + token() } : {}, more);

// --- figures ---------------------------------------------------------------------------------------------------------
function show(status) {
  last = status;
  const now = clock();
  const isSlave = status.brokerRole === "SLAVE";
  document.title = status.brokerName + " · " + status.brokerRole;
  $("name").textContent = status.brokerName;
  $("role").textContent = status.brokerRole;
  $("role").className = isSlave ? "pill slave" : "pill";
  const trouble = isSlave
    ? (status.master && ([status.master.reason, status.master.remedy].filter(Boolean).join("; ") || (status.master.masterAddr === null ? "No master address: nothing is followed" : null)))
    : (status.writable ? null : "Puts are held off: " + status.notWritableReason);
  $("alert").hidden = !trouble;
  $("alert").textContent = trouble || "";
  const tile = (label, value, sub) => node("div", { class: "tile" }, node("span", {}, label), node("b", {}, value), node("i", {}, sub));
  $("tiles").replaceChildren(
    tile("Max offset", whole(status.maxOffset), bytes(status.maxOffset - status.minOffset) + " held"),
    tile("Min offset", whole(status.minOffset), "first byte held"),
    tile("Not flushed", bytes(status.maxOffset - status.flushedOffset), "flushed " + whole(status.flushedOffset)),
    tile("Not dispatched", bytes(status.dispatchBehindBytes), "confirmed " + whole(status.confirmOffset)),
    isSlave
      ? tile("Lag", status.master ? bytes(status.master.diff) : "unknown", status.master && status.master.verified ? "verified" : "unverified")
      : tile("In-sync slaves", String(status.inSyncSlaveNums), "of " + status.slaves.length + " connected"));
  showPeers(status, now);
  const list = [["Broker id", status.brokerId], ["Cluster", status.brokerClusterName], ["Remoting", status.addresses.remoting], ["VIP", status.addresses.vip || "–"], ["Clients are told", status.addresses.advertised], ["NameServer", status.addresses.namesrv || "–"],
    ["HA", status.addresses.ha], ["HA, as told to others", status.haServerAddr], ["Admin", status.addresses.admin || "–"]];
  $("addresses").replaceChildren(...list.flatMap(([key, value]) => [node("dt", {}, key), node("dd", {}, String(value))]));
  $("foot").textContent = "Twinlog " + status.version + " on " + status.runtime + ", up " + age(now - status.startTimestamp);
  for (const slave of status.slaves) record(slave.addr, now, slave.diff);
  if (isSlave && status.master) record("this slave", now, status.master.diff);
  for (const [name, points] of lags) {
    while (points.length && points[0].t < now - KEEP_MS) points.shift();
    if (!points.length) lags.delete(name);
  }
  draw(now);
}
function record(name, t, v) {
  if (!lags.has(name) && lags.size >= 64) return;
  if (!lags.has(name)) lags.set(name, []);
  lags.get(name).push({ t, v });
}
function showPeers(status, now) {
  const isSlave = status.brokerRole === "SLAVE" && status.slaves.length === 0;
  const row = (cells) => node("tr", {}, ...cells.map(([text, kind]) => node("td", { class: kind || "" }, text)));
  const head = (titles) => node("tr", {}, ...titles.map(([text, kind]) => node("th", { class: kind || "" }, text)));
  $("peers-title").textContent = isSlave ? "Master" : "Slaves";
  if (isSlave) {
    const m = status.master;
    $("peers-head").replaceChildren(head([["Address"], ["State"], ["Verified"], ["Its max", "num"], ["Lag", "num"], ["Rate", "num"], ["Heard", "num"]]));
    $("peers").replaceChildren(...(m ? [row([[m.masterAddr || "–"], [m.state], m.verified ? ["yes", "yes"] : ["no", "no"], [whole(m.masterMaxOffset), "num"], [bytes(m.diff), "num"],
      [bytes(m.transferredByteInSecond) + "/s", "num"], [m.lastReadTimestamp ? age(now - m.lastReadTimestamp) + " ago" : "never", "num"]])] : []));
    $("peers-empty").textContent = "";
    return;
  }
  $("peers-head").replaceChildren(head([["Address"], ["State"], ["In sync"], ["Ack", "num"], ["Next", "num"], ["Lag", "num"], ["Rate", "num"]]));
  $("peers").replaceChildren(...status.slaves.slice(0, 100).map((s) => row([[s.addr], [s.state], s.inSync ? ["yes", "yes"] : ["no", "no"], [whole(s.slaveAckOffset), "num"],
    [whole(s.transferFromWhere), "num"], [bytes(s.diff), "num"], [bytes(s.transferredByteInSecond) + "/s", "num"]])));
  $("peers-empty").textContent = status.slaves.length === 0 ? "No slave is connected." : status.slaves.length > 100 ? "and " + (status.slaves.length - 100) + " more" : "";
}

// --- chart -----------------------------------------------------------------------------------------------------------
const SVG = "http://www.w3.org/2000/svg";
function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}
let scale = null;
function niceMax(value) {
  let top = 1024;
  while (top < value) top *= 2;
  return top;
}
function draw(now) {
  const svg = $("chart").querySelector("svg");
  const width = svg.clientWidth || 600, height = svg.clientHeight || 240;
  const left = 64, right = width - 8, upper = 10, lower = height - 22;
  const shown = [...lags].slice(0, 6);
  const max = niceMax(Math.max(0, ...shown.flatMap(([, points]) => points.map((p) => p.v || 0))));
  const x = (t) => right - (now - t) / KEEP_MS * (right - left);
  const y = (v) => lower - Math.max(0, v) / max * (lower - upper);
  const parts = [];
  for (let i = 0; i <= 4; i++) {
    const value = max / 4 * i;
    parts.push(shape("line", { x1: left, x2: right, y1: y(value), y2: y(value), class: "grid" }));
    parts.push(shape("text", { x: left - 8, y: y(value) + 4, "text-anchor": "end" }, bytes(value)));
  }
  for (let minute = 0; minute <= 5; minute++) {
    const at = x(now - minute * 60000);
    parts.push(shape("text", { x: at, y: height - 5, "text-anchor": minute === 0 ? "end" : minute === 5 ? "start" : "middle" }, minute === 0 ? "now" : "-" + minute + " min"));
  }
  shown.forEach(([, points], index) => {
    let path = "", pen = false;
    for (const p of points) {
      if (p.v === null) { pen = false; continue; }
      path += (pen ? "L" : "M") + x(p.t).toFixed(1) + " " + y(p.v).toFixed(1);
      pen = true;
    }
    parts.push(shape("path", { d: path, style: "stroke: var(--s" + index + ")" }));
  });
  svg.replaceChildren(...parts);
  scale = { now, left, right, shown };
  $("legend").replaceChildren(...shown.map(([name, points], index) => {
    const entry = node("span", {}, node("i", {}), name + "  " + bytes(points.at(-1).v));
    entry.firstChild.style.background = "var(--s" + index + ")";
    return entry;
  }), lags.size > 6 ? "and " + (lags.size - 6) + " more" : lags.size === 0 ? "Nothing to show: no slave, no master." : "");
}
function pointAt(event) {
  const svg = $("chart").querySelector("svg");
  svg.querySelectorAll(".cursor").forEach((line) => line.remove());
  if (!scale || !scale.shown.length || event.type === "pointerleave") { $("tip").hidden = true; return; }
  const at = Math.min(scale.right, Math.max(scale.left, event.offsetX));
  const t = scale.now - (scale.right - at) / (scale.right - scale.left) * KEEP_MS;
  const lines = scale.shown.map(([name, points]) => {
    const near = points.reduce((best, p) => Math.abs(p.t - t) < Math.abs(best.t - t) ? p : best);
    return Math.abs(near.t - t) > 3000 ? null : name + "  " + bytes(near.v);
  }).filter(Boolean);
  svg.append(shape("line", { x1: at, x2: at, y1: 10, y2: svg.clientHeight - 22, class: "cursor" }));
  $("tip").hidden = lines.length === 0;
  $("tip").textContent = new Date(t).toLocaleTimeString() + "\n" + lines.join("\n");
  const isRight = at > (scale.left + scale.right) / 2;
  $("tip").style.left = isRight ? "auto" : at + 10 + "px";
  $("tip").style.right = isRight ? svg.clientWidth - at + 10 + "px" : "auto";
}
$("chart").querySelector("svg").addEventListener("pointermove", pointAt);
$("chart").querySelector("svg").addEventListener("pointerleave", pointAt);
addEventListener("resize", () => draw(clock()));

// --- events ----------------------------------------------------------------------------------------------------------
function live(kind, text) {
  $("dot").className = "dot " + kind;
  $("live").textContent = text;
}
async function follow() {
  const mine = ++ended;
  while (mine === ended) {
    try {
      const response = await fetch("events", { headers: headers() });
      if (response.status === 401) {
        live("off", "token needed");
        if (await askToken()) continue;
        return;
      }
      if (!response.ok) throw new Error((await response.json()).error);
      live("on", "live");
      let rest = "";
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      while (mine === ended) {
        const { value, done } = await reader.read();
        if (done) break;
        const events = (rest + value).split("\n\n");
        rest = events.pop();
        for (const event of events) {
          const data = event.split("\n").find((line) => line.startsWith("data: "));
          if (data) show(JSON.parse(data.slice(6)));
        }
      }
      reader.cancel();
      live("off", "ended, trying again");
    } catch (error) {
      live("off", "not reachable, trying again");
    }
    await new Promise((resolve) => later(resolve, 1500));
  }
}
function askToken() {
  return new Promise((resolve) => {
    $("token-input").value = "";
    $("token").returnValue = "no";
    $("token").onclose = () => {
      const given = $("token-input").value.trim();
      const use = $("token").returnValue === "yes";
      if (use && given) sessionStorage.setItem("twinlog-token", given);
      else if (use) sessionStorage.removeItem("twinlog-token");
      resolve(use);
    };
    $("token").showModal();
  });
}
$("token-open").onclick = async () => { if (await askToken()) follow(); };

// --- switches --------------------------------------------------------------------------------------------------------
async function change(path, body) {
  const response = await fetch(path, { method: "PUT", headers: headers({ "content-type": "application/json" }), body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { status: response.status });
  show(answer);
}
function confirmThen(title, text, canForce, act) {
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-error").textContent = "";
  $("force-label").hidden = true;
  $("force").checked = false;
  $("confirm-yes").disabled = false;
  $("confirm-yes").onclick = async (event) => {
    event.preventDefault();
    $("confirm-yes").disabled = true;
    try {
      await act($("force").checked);
      $("confirm").close();
    } catch (error) {
      $("confirm-error").textContent = error.message;
      $("force-label").hidden = !(canForce && error.status === 409);
    }
    $("confirm-yes").disabled = false;
  };
  $("confirm").showModal();
}
$("role-select").onchange = () => { $("role-master").hidden = $("role-select").value !== "SLAVE"; };
$("role-form").onsubmit = (event) => {
  event.preventDefault();
  const role = $("role-select").value, master = $("role-master").value.trim();
  const name = last ? last.brokerName : "this node";
  const text = role === "SLAVE" ? "It stops taking puts and follows " + (master || "its configured master") + "."
    : "It takes puts from then on. Make sure that no other master of this name is still taking them.";
  confirmThen("Make " + name + " a " + role + "?", text, true, (force) =>
    change("role", Object.assign({ role }, role === "SLAVE" && master ? { masterAddress: master } : {}, force ? { force } : {})));
};
$("address-form").onsubmit = (event) => {
  event.preventDefault();
  const address = $("address-input").value.trim() || null;
  confirmThen(address ? "Follow " + address + "?" : "Stop following?",
    address ? "The connection is closed and opened to the new address; what is held is compared first." : "This slave stays as it is until it is given an address.",
    false, () => change("ha/master-address", { address }));
};
follow();
`;
