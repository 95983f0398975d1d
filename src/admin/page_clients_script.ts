// The second half of the page's script, as text: topics, consumer groups, the message viewer and the form that sends a test
// message. It uses the helpers of page_script.ts and asks for its figures only while the page is visible.

/** Plain JavaScript without backquotes or template strings; runs behind PAGE_SCRIPT. */
export const PAGE_CLIENTS_SCRIPT = String.raw`
async function ask(path, method, body) {
  const init = { method: method || "GET", headers: headers(body ? { "content-type": "application/json" } : {}) };
  if (body) init.body = JSON.stringify(body);
  const response = await fetch(path, init);
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error || answer.remark || answer.status), { status: response.status });
  return answer;
}
const cells = (row) => node("tr", {}, ...row.map(([content, kind]) => node("td", { class: kind || "" }, content)));
const heads = (row) => node("tr", {}, ...row.map(([text, kind]) => node("th", { class: kind || "" }, text)));
function button(text, act) {
  const made = node("button", { class: "link", type: "button" }, text);
  made.onclick = act;
  return made;
}
const permText = (perm) => (perm & 4 ? "R" : "–") + (perm & 2 ? "W" : "–");
const ROWS_MAX = 200;

// --- topics and groups -------------------------------------------------------------------------------------------------
let openGroup = null;
async function refreshClients() {
  if (document.hidden) return;
  try {
    const { topics } = await ask("topics");
    const shown = topics.filter((one) => $("topics-system").checked || !one.system && !one.topic.startsWith("%"));
    $("topics-head").replaceChildren(heads([["Topic"], ["Queues", "num"], ["Perm"], ["Messages", "num"]]));
    $("topics").replaceChildren(...shown.slice(0, ROWS_MAX).map((one) => cells([
      [button(one.topic, () => view({ topic: one.topic }))], [one.readQueueNums + " / " + one.writeQueueNums, "num"], [permText(one.perm) + (one.order ? " ordered" : "")], [whole(one.messages), "num"]])));
    $("topics-empty").textContent = shown.length === 0 ? "No topic yet: the first message makes one." : shown.length > ROWS_MAX ? "and " + (shown.length - ROWS_MAX) + " more" : "";
    const names = node("datalist", { id: "topic-names" }, ...topics.filter((one) => !one.system).slice(0, ROWS_MAX).map((one) => node("option", { value: one.topic })));
    $("topic-names").replaceWith(names);
    const { groups } = await ask("groups");
    const known = groups.filter((one) => one.clients > 0 || one.topics.length > 0);
    $("groups-head").replaceChildren(heads([["Group"], ["Members", "num"], ["Model"], ["Still to consume", "num"]]));
    $("groups").replaceChildren(...known.slice(0, ROWS_MAX).map((one) => cells([
      [button(one.group, () => { openGroup = openGroup === one.group ? null : one.group; refreshClients(); })], [String(one.clients), one.clients ? "num" : "num no"],
      [one.messageModel ? one.messageModel.toLowerCase() : "offline"], [whole(one.diffTotal), "num"]])));
    $("groups-empty").textContent = known.length === 0 ? "No consumer group has been here." : known.length > ROWS_MAX ? "and " + (known.length - ROWS_MAX) + " more" : "";
    await showGroup();
  } catch (error) {
    // The live stream says that the node is away; here the last figures stay.
  }
}
async function showGroup() {
  $("group-detail").hidden = openGroup === null;
  if (openGroup === null) return;
  const group = await ask("groups/" + encodeURIComponent(openGroup));
  const members = group.members.slice(0, ROWS_MAX).map((one) => node("li", {}, one.clientId + "  " + one.address + "  " + one.language + " " + one.version));
  const progress = group.progress.slice(0, ROWS_MAX).map((one) => cells([[one.topic], [String(one.queueId), "num"], [whole(one.brokerOffset), "num"], [whole(one.consumerOffset), "num"], [whole(one.diff), "num"]]));
  $("group-detail").replaceChildren(
    node("h3", {}, openGroup),
    node("ul", {}, ...(members.length ? members : [node("li", {}, "no member is connected")])),
    node("p", { class: "hint" }, group.subscriptions.map((one) => one.topic + "  " + one.type + "  " + one.expression).join(", ")),
    node("div", { class: "scroll" }, node("table", {}, node("thead", {}, heads([["Topic"], ["Queue", "num"], ["Broker", "num"], ["Consumer", "num"], ["Still to consume", "num"]])), node("tbody", {}, ...progress))));
}
$("topics-system").onchange = refreshClients;
document.addEventListener("visibilitychange", refreshClients);

// --- messages ----------------------------------------------------------------------------------------------------------
function view(given) {
  if (given.topic !== undefined) $("view-topic").value = given.topic;
  $("view-form").requestSubmit();
  $("view-form").scrollIntoView({ block: "nearest" });
}
$("view-by").onchange = () => { $("view-value").placeholder = $("view-by").value === "queue" ? "queue:offset, empty for the newest" : $("view-by").value === "key" ? "key, or unique message id" : "offset message id"; };
async function newest(topic) {
  const { queues } = await ask("topics/" + encodeURIComponent(topic));
  const lists = await Promise.all(queues.filter((one) => one.maxOffset > one.minOffset).slice(0, 32).map(async (one) => {
    const from = Math.max(one.minOffset, one.maxOffset - 8);
    return (await ask("topics/" + encodeURIComponent(topic) + "/messages?queueId=" + one.queueId + "&offset=" + from + "&maxNum=8")).messages;
  }));
  return lists.flat().sort((a, b) => b.storeTimestamp - a.storeTimestamp).slice(0, 32);
}
$("view-form").onsubmit = async (event) => {
  event.preventDefault();
  const topic = $("view-topic").value.trim(), by = $("view-by").value, value = $("view-value").value.trim();
  const path = "topics/" + encodeURIComponent(topic) + "/messages?";
  $("view-error").textContent = "";
  try {
    let messages;
    if (by === "key") messages = (await ask(path + "key=" + encodeURIComponent(value))).messages;
    else if (by === "id") messages = (await ask(path + "msgId=" + encodeURIComponent(value))).messages;
    else if (value === "") messages = await newest(topic);
    else {
      const [queueId, offset] = value.split(":");
      messages = (await ask(path + "queueId=" + encodeURIComponent(queueId) + "&offset=" + encodeURIComponent(offset || "0") + "&maxNum=32")).messages;
    }
    $("messages").replaceChildren(...messages.map(messageView));
    if (messages.length === 0) $("view-error").textContent = "Nothing found.";
  } catch (error) {
    $("messages").replaceChildren();
    $("view-error").textContent = error.message;
  }
};
function messageView(one) {
  const title = new Date(one.storeTimestamp).toLocaleString() + "  queue " + one.queueId + " at " + one.queueOffset;
  const text = one.body !== null ? one.body : "base64 " + one.bodyBase64;
  const properties = Object.entries(one.properties || {}).map(([key, value]) => key + " = " + value).join("\n");
  return node("details", {}, node("summary", {}, title, node("span", {}, text.slice(0, 80))), node("pre", {}, text.slice(0, 20000)),
    node("pre", { class: "soft" }, "id " + one.msgId + ", " + one.storeSize + " bytes at " + one.physicalOffset + "\n" + properties));
}
$("send-form").onsubmit = async (event) => {
  event.preventDefault();
  const topic = $("send-topic").value.trim(), tags = $("send-tags").value.trim(), keys = $("send-keys").value.trim();
  $("send-result").textContent = "";
  try {
    const answer = await ask("topics/" + encodeURIComponent(topic) + "/messages", "POST", Object.assign({ body: $("send-body").value }, tags ? { tags } : {}, keys ? { keys } : {}));
    $("send-result").textContent = answer.status + (answer.queueId !== null ? ", queue " + answer.queueId + " at " + answer.queueOffset : "") + (answer.remark ? ", " + answer.remark : "");
    view({ topic });
    refreshClients();
  } catch (error) {
    $("send-result").textContent = error.message;
  }
};
(function again() { refreshClients().then(() => later(again, 3000)); })();
`;
