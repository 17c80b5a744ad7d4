"use strict";
// Everything that a message says is set as text; its HTML is shown in a sandboxed frame only.
const all = [];
let shown = null;
const at = (id) => document.getElementById(id);

function element(name, options = {}, ...children) {
  const made = Object.assign(document.createElement(name), options);
  made.append(...children);
  return made;
}

function titleOf(entry) {
  const message = entry.message;
  return message.subject || message.title || message.text || message.body || "(empty)";
}

function fits(entry) {
  const channel = at("channel").value;
  const words = at("search").value.trim().toLowerCase();
  return (!channel || entry.channel === channel) && (!words || JSON.stringify(entry).toLowerCase().includes(words));
}

function drawList() {
  const list = at("list");
  const focused = list.contains(document.activeElement) ? document.activeElement.id : "";
  const rows = all.filter(fits).reverse().map((entry) => {
    const time = new Date(entry.at).toLocaleTimeString();
    const button = element("button", { type: "button", id: `message-${entry.number}`, onclick: () => show(entry) },
      element("strong", { textContent: titleOf(entry).slice(0, 120) }),
      element("span", { className: "meta", textContent: `${entry.channel} to ${entry.to} · ${entry.type} · ${time}` }));
    if (entry === shown) button.setAttribute("aria-current", "true");
    return element("li", {}, button);
  });
  list.replaceChildren(...rows);
  if (focused) at(focused)?.focus({ preventScroll: true });
  at("empty").hidden = rows.length > 0;
}

function facts(pairs) {
  const list = element("dl");
  for (const [name, value] of pairs) {
    if (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length)) continue;
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    if (text !== "{}") list.append(element("dt", { textContent: name }), element("dd", { textContent: text }));
  }
  return list;
}

function frame(entry, width) {
  const made = element("iframe", { src: `/html/${entry.number}`, className: width === 600 ? "wide" : "narrow", title: `HTML at ${width} pixels` });
  made.setAttribute("sandbox", "");
  return element("figure", {}, made, element("figcaption", { textContent: `${width} px` }));
}

const VIEWS = {
  email: (entry) => [
    ...(entry.message.html ? [element("div", { className: "widths" }, frame(entry, 600), frame(entry, 320))] : []),
    element("pre", { textContent: entry.message.text }),
  ],
  sms: (entry) => [element("p", { className: "bubble", textContent: entry.message.text }),
    element("p", { className: "meta", textContent: `${[...entry.message.text].length} characters` })],
  push: (entry) => [card("card", entry.message)],
  in_app: (entry) => [card("row", entry.message)],
  chat: (entry) => [element("p", { className: "card", textContent: entry.message.text })],
};

function card(name, message) {
  return element("div", { className: name }, element("strong", { textContent: message.title }), "\n", message.body || "",
    ...(message.url ? ["\n", element("span", { className: "meta", textContent: message.url })] : []));
}

function show(entry) {
  shown = entry;
  const { text, html, title, body, ...rest } = entry.message;
  const view = VIEWS[entry.channel] || (() => [element("pre", { textContent: JSON.stringify(entry.message, null, 2) })]);
  at("shown").replaceChildren(
    element("h2", { textContent: titleOf(entry).slice(0, 200) }),
    facts([["to", entry.to], ["recipient", entry.recipient], ["channel", entry.channel], ["type", entry.type],
      ["tenant", entry.tenant], ["time", entry.at], ["attempt", entry.attempt], ["event", entry.event_id],
      ["delivery", entry.delivery_id], ...Object.entries(rest)]),
    ...view(entry));
  drawList();
}

async function follow() {
  for (;;) {
    try {
      const last = all.length ? all[all.length - 1].number : 0;
      const answer = await fetch(`/messages?after=${last}`);
      if (!answer.ok) throw new Error(answer.statusText);
      const found = await answer.json();
      all.push(...found.messages);
      if (all.length > 500) all.splice(0, all.length - 500);
      if (found.messages.length) drawList();
      if (!shown && all.length) show(all[all.length - 1]);
      at("state").textContent = `live · ${all.length} messages` + (found.bad_lines ? ` · ${found.bad_lines} unreadable lines` : "");
    } catch (error) {
      at("state").textContent = "disconnected; trying again";
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

at("channel").addEventListener("change", drawList);
at("search").addEventListener("input", drawList);
follow();
