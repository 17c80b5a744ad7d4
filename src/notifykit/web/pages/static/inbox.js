// <notify-inbox user="user:42">: a person's inbox behind a bell, for any page; see "Show an inbox" in the docs.
// Every text goes into the page as text, never as markup.

const STRINGS = {
  title: "Notifications",
  unreadCount: (count) => (count > 99 ? "more than 99 unread" : `${count} unread`),
  empty: "There is nothing here.",
  loading: "Loading …",
  offline: "You are offline. What you do is sent when you are back.",
  refused: "Your notifications cannot be shown.",
  connecting: "Connecting again …",
  active: "All",
  unread: "Unread",
  archived: "Archived",
  category: "Category",
  everyCategory: "All categories",
  categoryName: (category) => category.replaceAll("_", " "),
  markRead: "Mark as read",
  markUnread: "Mark as unread",
  archive: "Archive",
  unarchive: "Move back",
  readAll: "Mark all as read",
  archiveAll: "Archive all",
  older: "Show older ones",
  isUnread: "Unread",
  arrived: (item) => `New: ${item.title}`,
};

const STYLE = `
:host { --_accent: var(--notify-accent, light-dark(#0b57d0, #8ab4f8)); --_back: var(--notify-background, light-dark(#fff, #15171c));
  --_text: var(--notify-text, light-dark(#1b1d22, #e6e8ec)); --_quiet: var(--notify-quiet, light-dark(#555b66, #a9b0bc));
  --_line: var(--notify-line, light-dark(#d5d8de, #3a3f4a)); --_soft: var(--notify-soft, light-dark(#f0f4fc, #20252f));
  --_badge: var(--notify-badge, light-dark(#b3261e, #f2b8b5)); --_on-badge: var(--notify-on-badge, light-dark(#fff, #601410));
  color-scheme: light dark; display: inline-block; position: relative; font: var(--notify-font, 1rem/1.4 system-ui, sans-serif); }
:host([inline]) { display: block; }
:host([hidden]) { display: none; }
:host([scheme="light"]) { color-scheme: light; }
:host([scheme="dark"]) { color-scheme: dark; }
* { box-sizing: border-box; }
button, select { font: inherit; color: inherit; background: none; border: 1px solid var(--_line); border-radius: .4rem; padding: .25rem .6rem; min-height: 2rem; cursor: pointer; }
select { background: var(--_back); max-width: 100%; }
option { background: var(--_back); color: var(--_text); }
button[aria-pressed="true"] { border-color: var(--_accent); color: var(--_accent); font-weight: 600; }
:focus-visible { outline: 3px solid var(--_accent); outline-offset: 1px; }
.bell { position: relative; border: 0; padding: .4rem; min-height: 2.5rem; min-width: 2.5rem; color: var(--notify-bell, inherit); }
.bell svg { display: block; width: 1.5rem; height: 1.5rem; margin: auto; }
.badge { position: absolute; top: 0; right: 0; min-width: 1.25rem; padding: 0 .3rem; border-radius: 1rem; background: var(--_badge); color: var(--_on-badge); font-size: .75rem; line-height: 1.25rem; text-align: center; }
.panel { background: var(--_back); color: var(--_text); border: 1px solid var(--_line); border-radius: .6rem; display: flex; flex-direction: column; overflow: hidden; }
:host(:not([inline])) .panel { position: absolute; inset-inline-end: 0; top: 100%; z-index: var(--notify-layer, 1000); width: min(24rem, calc(100vw - 2rem)); max-height: min(36rem, 80vh); box-shadow: 0 8px 24px #0004; }
:host([inline]) .panel { max-height: var(--notify-height, none); }
@media (max-width: 30rem) { :host(:not([inline])) .panel { position: fixed; inset: auto 0 0 0; width: auto; max-height: 85vh; } }
.panel[hidden] { display: none; }
.head, .tools { display: flex; flex-wrap: wrap; gap: .4rem; align-items: center; padding: .5rem .75rem; border-bottom: 1px solid var(--_line); }
h2 { font-size: 1.1rem; margin: 0; flex: 1; }
.status { margin: 0; padding: .4rem .75rem; color: var(--_quiet); }
.list { overflow-y: auto; flex: 1; }
ul { list-style: none; margin: 0; padding: 0; }
li { display: flex; flex-wrap: wrap; gap: .25rem .5rem; padding: .6rem .75rem; border-bottom: 1px solid var(--_line); }
li.unread { background: var(--_soft); }
.what { flex: 1 1 100%; min-width: 0; color: inherit; text-decoration: none; border-radius: .3rem; cursor: pointer; overflow-wrap: anywhere; }
.what:hover .name { text-decoration: underline; }
.name { display: block; } .unread .name { font-weight: 650; }
.dot { display: inline-block; width: .55rem; height: .55rem; border-radius: 50%; background: var(--_accent); margin-inline-end: .4rem; }
.body { display: block; white-space: pre-line; }
time { color: var(--_quiet); font-size: .875rem; }
.does { display: flex; flex-wrap: wrap; gap: .3rem; align-items: start; }
.head button, .tools button, .tools select, .does button { font-size: .875rem; }
.head button, .does button { border-color: transparent; color: var(--_accent); padding-inline: .35rem; }
.does button { min-height: 1.6rem; padding-block: 0; margin-inline-start: -.35rem; }
button:disabled { opacity: .5; cursor: default; }
.older { display: block; margin: .6rem auto; }
.quiet { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
`;

const MARKS = { // what a mark does to an item here, before the server says so
  read: (item, now) => ({ ...item, read_at: item.read_at ?? now, seen_at: item.seen_at ?? now }),
  unread: (item) => ({ ...item, read_at: null }),
  archived: (item, now) => ({ ...item, archived_at: item.archived_at ?? now }),
  unarchived: (item) => ({ ...item, archived_at: null }),
};
const PAGE = 20, SILENCE = 45_000, SLOWEST = 30_000;

function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value; else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function bell() {
  const space = "http://www.w3.org/2000/svg";
  const icon = document.createElementNS(space, "svg"), path = document.createElementNS(space, "path");
  icon.setAttribute("viewBox", "0 0 24 24");
  icon.setAttribute("aria-hidden", "true");
  path.setAttribute("fill", "currentColor");
  path.setAttribute("d", "M12 22a2.5 2.5 0 0 0 2.4-2H9.6A2.5 2.5 0 0 0 12 22Zm7-6v-5a7 7 0 0 0-5.5-6.8V3.500a1.500 1.500 0 0 0-3 0v.7A7 7 0 0 0 5 11v5l-2 2v1h18v-1l-2-2Z");
  icon.append(path);
  return icon;
}

function safeUrl(url) { // a link of an item may be anything, also javascript:
  try {
    const parsed = new URL(url, document.baseURI);
    return ["http:", "https:"].includes(parsed.protocol) ? parsed.href : null;
  } catch { return null; }
}

class NotifyInbox extends HTMLElement {
  static observedAttributes = ["user", "server", "tenant"];
  #root = this.attachShadow({ mode: "open" });
  #strings = STRINGS;
  #token = null;
  #items = new Map();
  #counts = { unseen: 0, unread: 0 };
  #view = { state: "active", category: null };
  #categories = new Set();
  #cursor = null; // up to where everything is known
  #told = 0; // up to where the stream has told, also while nothing could be made of it yet
  #next = null;
  #reads = 0; // tells the answer to an older question from that to the newest
  #isOpen = false;
  #problem = null;
  #waiting = []; // marks that are not sent yet
  #sending = null;
  #life = null;
  #channel = null;
  #parts = {};
  #isLoading = false;

  constructor() {
    super();
    const sheet = new CSSStyleSheet(); // allowed by any content security policy, unlike <style>
    sheet.replaceSync(STYLE);
    this.#root.adoptedStyleSheets = [sheet];
  }

  // -- what the page says ------------------------------------------------------------------------

  /** A token, or a function that returns one (or a promise): it is asked again when a token has expired. */
  get token() { return this.#token ?? this.getAttribute("token"); }
  set token(value) { this.#token = value; this.#restart(); }

  /** Texts in place of the English ones; those that are not given stay. */
  get strings() { return this.#strings; }
  set strings(value) { this.#strings = { ...STRINGS, ...value }; if (this.#life) this.#build(); }

  get counts() { return { ...this.#counts }; }
  get items() { return this.#shown(); }

  connectedCallback() {
    for (const name of ["token", "strings"]) { // set before the element was defined
      if (Object.hasOwn(this, name)) { const value = this[name]; delete this[name]; this[name] = value; }
    }
    this.#build();
    this.#restart();
  }

  disconnectedCallback() { this.#stop(); }

  attributeChangedCallback(name, before, after) { if (before !== after && this.isConnected) this.#restart(); }

  show() { this.#open(true); }
  hide() { this.#open(false); }

  // -- life --------------------------------------------------------------------------------------

  #stop() {
    this.#life?.abort();
    this.#channel?.close();
    this.#life = this.#channel = null;
  }

  #restart() {
    this.#stop();
    if (!this.isConnected || !this.getAttribute("user")) return;
    const life = this.#life = new AbortController(), { signal } = life;
    this.#items.clear();
    this.#waiting = [];
    this.#cursor = null;
    this.#told = 0;
    const name = ["notifykit", this.#base(), this.getAttribute("tenant") ?? "", this.getAttribute("user")].join(" ");
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => (data.mark ? this.#apply(data.mark, data.ids) : this.#take(data));
    addEventListener("online", () => { this.#say(null); this.#send(); this.#catchUp(); }, { signal });
    addEventListener("offline", () => this.#say("offline"), { signal });
    addEventListener("pageshow", (event) => { if (event.persisted) this.#restart(); }, { signal });
    document.addEventListener("visibilitychange", () => { if (!document.hidden) this.#catchUp(); }, { signal });
    document.addEventListener("pointerdown", (event) => {
      if (this.#isOpen && !event.composedPath().includes(this)) this.#open(false);
    }, { signal });
    this.#read();
    // One tab of a browser has the stream and tells the others: browsers allow few connections to a server.
    const follow = () => this.#follow(signal);
    if (navigator.locks) navigator.locks.request(name, { signal }, follow).catch(() => {}); else follow();
  }

  #base() { return new URL(this.getAttribute("server") || "../", this.hasAttribute("server") ? document.baseURI : import.meta.url).href.replace(/\/*$/, "/"); }

  async #fetch(path, options = {}) {
    const url = `${this.#base()}v1/inbox/${encodeURIComponent(this.getAttribute("user"))}${path}`;
    for (const isLast of [false, true]) {
      const token = typeof this.token === "function" ? await this.token({ expired: isLast }) : this.token;
      const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
      const credentials = token ? "omit" : "include";
      const response = await fetch(url, { signal: this.#life?.signal, ...options, headers, credentials, cache: "no-store" });
      if (response.status === 401 && !isLast && typeof this.token === "function") continue;
      if (!response.ok) throw Object.assign(new Error(`status ${response.status}`), { status: response.status });
      return response;
    }
  }

  // -- reading -----------------------------------------------------------------------------------

  async #read({ more = false } = {}) {
    const number = ++this.#reads, query = new URLSearchParams({ state: this.#view.state, limit: this.getAttribute("page-size") || PAGE });
    if (this.#view.category) query.set("category", this.#view.category);
    if (more) query.set("cursor", this.#next);
    this.#isLoading = true;
    this.#draw();
    try {
      const page = await (await this.#fetch(`?${query}`)).json();
      if (number !== this.#reads) return;
      if (!more) this.#forget((item) => item.change <= page.changes); // what is newer has come meanwhile
      page.data.forEach((item) => this.#put(item));
      this.#next = page.next;
      if (this.#cursor === null) {
        this.#cursor = page.changes;
        this.#count(await (await this.#fetch("/counts")).json());
        if (this.#told > this.#cursor) this.#catchUp();
      }
      if (this.#problem !== "offline" || navigator.onLine) this.#say(null);
      setTimeout(() => this.#watchEnd()); // once this page has been drawn
    } catch (error) {
      if (number === this.#reads) this.#failed(error);
    } finally {
      if (number === this.#reads) { this.#isLoading = false; this.#draw(); }
    }
  }

  #failed(error) {
    if (error.name === "AbortError") return;
    this.#say([401, 403, 404, 422].includes(error.status) ? "refused" : navigator.onLine ? "connecting" : "offline");
    this.dispatchEvent(new CustomEvent("notify-error", { detail: { error } }));
  }

  async #catchUp() {
    try {
      for (let more = this.#cursor !== null; more;) {
        const changes = await (await this.#fetch(`/changes?cursor=${this.#cursor}`)).json();
        this.#take({ event: "changes", data: changes });
        more = changes.has_more;
      }
      if (this.#cursor === null) await this.#read();
      else { this.#count(await (await this.#fetch("/counts")).json()); this.#say(null); }
    } catch (error) { this.#failed(error); }
  }

  async #follow(signal) {
    for (let failures = 0; !signal.aborted;) {
      try {
        for await (const message of this.#messages(signal)) {
          if (failures || this.#problem === "connecting") this.#say(null);
          failures = 0;
          this.#take(message);
          this.#channel?.postMessage(message);
        }
        failures ||= 0.1; // the server has ended it in good order: come back soon
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(error);
        if (this.#problem === "refused") failures = 9;
        failures = Math.max(1, failures + 1);
      }
      const wait = Math.min(SLOWEST, 500 * 2 ** failures) * (0.5 + Math.random() / 2);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, wait);
        for (const event of ["online", "pageshow"]) addEventListener(event, resolve, { once: true, signal });
        signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
      });
    }
  }

  async *#messages(signal) { // server-sent events by fetch, because EventSource sends no token
    while (this.#cursor === null && !signal.aborted) {
      await this.#read();
      if (this.#cursor === null) throw new Error("the inbox cannot be read");
    }
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), SILENCE);
    try {
      const options = { signal: AbortSignal.any([signal, silence.signal]), headers: { Accept: "text/event-stream" } };
      const response = await this.#fetch(`/stream?cursor=${this.#cursor}`, options);
      let rest = "";
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), SILENCE);
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) {
          const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
          if (fields.event) yield { event: fields.event, data: JSON.parse(fields.data) };
        }
      }
    } catch (error) {
      throw silence.signal.aborted ? new Error("the stream has fallen silent") : error;
    } finally { clearTimeout(timer); }
  }

  #take({ event, data }) {
    if (event === "changes") {
      this.#told = Math.max(this.#told, data.cursor);
      if (!data.is_reset && (this.#cursor === null || data.cursor < this.#cursor)) return;
      if (data.is_reset) { this.#items.clear(); this.#next = null; this.#read(); }
      const fresh = data.items.filter((item) => item.change > this.#cursor && !item.seen_at && !item.archived_at && !this.#items.has(item.id));
      data.items.forEach((item) => this.#put(item));
      this.#cursor = data.cursor;
      if (fresh.length) {
        this.#parts.live.textContent = this.#strings.arrived(fresh.at(-1));
        this.dispatchEvent(new CustomEvent("notify-arrived", { detail: { items: fresh } }));
      }
    }
    if (data.counts) this.#count(data.counts);
    this.#draw();
  }

  #put(item) {
    const known = this.#items.get(item.id);
    if (!known || known.change <= item.change) this.#items.set(item.id, item);
    if (item.category) this.#categories.add(item.category);
  }

  #forget(is) { for (const [id, item] of this.#items) if (is(item)) this.#items.delete(id); }

  #count(counts) {
    const before = this.#counts;
    this.#counts = counts;
    if (before.unread !== counts.unread || before.unseen !== counts.unseen) {
      this.dispatchEvent(new CustomEvent("notify-counts", { detail: { ...counts } }));
    }
    this.#draw();
  }

  #shown() {
    const { state, category } = this.#view, now = new Date().toISOString();
    return [...this.#items.values()].filter((item) =>
      (!category || item.category === category) && (item.archived_at !== null) === (state === "archived")
      && (state === "archived" || !item.snoozed_until || item.snoozed_until <= now)
      && (state !== "unread" || !item.read_at)
      && (this.#next === null || item.number >= this.#next)).sort((one, other) => other.number - one.number);
  }

  // -- marks -------------------------------------------------------------------------------------

  /** Marks items: `read`, `unread`, `archived` or `unarchived`; without ids all that are shown by state and category. */
  mark(mark, ids = null) {
    const body = ids ? { mark, ids } : { mark, state: mark === "seen" ? "unseen" : this.#view.state, category: this.#view.category };
    const these = ids ?? this.#shown().map((item) => item.id);
    this.#apply(mark, these);
    this.#channel?.postMessage({ mark, ids: these });
    this.#waiting.push(body);
    return this.#send();
  }

  #apply(mark, ids) {
    const change = MARKS[mark], now = new Date().toISOString();
    if (!change) return;
    let unread = this.#counts.unread;
    for (const id of ids) {
      const item = this.#items.get(id);
      if (!item) continue;
      const after = change(item, now), counts = (each) => Number(!each.read_at && !each.archived_at);
      unread += counts(after) - counts(item);
      this.#items.set(id, after);
    }
    this.#count({ ...this.#counts, unread: Math.max(0, unread) });
  }

  #send() { // in order, one after the other; what cannot be sent now waits until the browser is online
    this.#sending ??= (async () => {
      try {
        while (this.#waiting.length) {
          const body = JSON.stringify(this.#waiting[0]);
          await this.#fetch("/marks", { method: "POST", body, headers: { "Content-Type": "application/json" }, keepalive: true });
          this.#waiting.shift();
        }
      } catch (error) {
        if (error.status >= 400 && error.status < 500 && error.status !== 429) { this.#waiting.shift(); this.#cursor = null; this.#read(); }
        else setTimeout(() => this.#send(), 5_000);
        this.#failed(error);
      } finally { this.#sending = null; }
    })();
    return this.#sending;
  }

  // -- what is shown -----------------------------------------------------------------------------

  #build() {
    this.#parts.watch?.disconnect();
    const text = this.#strings, parts = this.#parts = {}, inline = this.hasAttribute("inline");
    parts.badge = make("span", { className: "badge", part: "badge", hidden: true });
    parts.bell = make("button", { className: "bell", part: "bell", type: "button", onclick: () => this.#open(!this.#isOpen), "aria-haspopup": "dialog", "aria-controls": "panel" }, bell(), parts.badge);
    parts.states = ["active", "unread", "archived"].map((state) => make("button", { type: "button", part: "filter", textContent: text[state], onclick: () => this.#look({ state }), "data-state": state }));
    parts.category = make("select", { part: "category", "aria-label": text.category, onchange: ({ target }) => this.#look({ category: target.value || null }) });
    parts.readAll = make("button", { type: "button", part: "action", textContent: text.readAll, onclick: () => this.mark("read") });
    parts.archiveAll = make("button", { type: "button", part: "action", textContent: text.archiveAll, onclick: () => this.mark("archived") });
    parts.status = make("p", { className: "status", part: "status", role: "status" });
    parts.list = make("ul", { part: "list", role: "list" });
    parts.older = make("button", { className: "older", type: "button", part: "action", textContent: text.older, onclick: () => this.#older() });
    parts.live = make("p", { className: "quiet", "aria-live": "polite" });
    parts.scroll = make("div", { className: "list", onkeydown: (event) => this.#key(event) }, parts.list, parts.older);
    parts.panel = make("section", { id: "panel", className: "panel", part: "panel", role: inline ? "region" : "dialog", "aria-label": text.title, hidden: !inline, tabIndex: -1, onkeydown: (event) => { if (event.key === "Escape" && !inline) { this.#open(false); event.stopPropagation(); } } },
      make("div", { className: "head", part: "header" }, make("h2", { textContent: text.title }), parts.readAll, parts.archiveAll),
      make("div", { className: "tools", part: "tools" }, ...parts.states, parts.category), parts.status, parts.scroll);
    this.#root.replaceChildren(...(inline ? [] : [parts.bell]), parts.panel, parts.live);
    parts.watch = new IntersectionObserver((seen) => { if (seen.at(-1).isIntersecting) this.#older(); }, { root: inline ? null : parts.scroll });
    this.#watchEnd();
    this.#draw();
  }

  #older() { if (this.#next !== null && !this.#isLoading && this.#isVisible) this.#read({ more: true }); }
  #watchEnd() { // anew, because an end that stays in view is told once
    this.#parts.watch?.unobserve(this.#parts.older);
    this.#parts.watch?.observe(this.#parts.older);
  }

  get #isVisible() { return this.#isOpen || this.hasAttribute("inline"); }

  #look(change) { this.#view = { ...this.#view, ...change }; this.#items.clear(); this.#next = null; this.#read(); }

  #open(open) {
    if (this.hasAttribute("inline") || open === this.#isOpen) return;
    this.#isOpen = open;
    this.#parts.panel.hidden = !open;
    if (open) { this.#parts.panel.focus(); if (this.#counts.unseen) this.mark("seen"); }
    else if (this.#root.activeElement || document.activeElement === this) this.#parts.bell.focus();
    this.#draw();
  }

  #say(problem) { this.#problem = problem; this.#draw(); }

  #draw() {
    const parts = this.#parts, text = this.#strings, { unread } = this.#counts;
    if (!parts.panel) return;
    const shown = this.#shown();
    parts.badge.hidden = !unread;
    parts.badge.textContent = unread > 99 ? "99+" : String(unread);
    parts.bell.setAttribute("aria-label", unread ? `${text.title}, ${text.unreadCount(unread)}` : text.title);
    parts.bell.setAttribute("aria-expanded", String(this.#isOpen));
    for (const button of parts.states) button.setAttribute("aria-pressed", String(button.dataset.state === this.#view.state));
    const given = this.getAttribute("categories")?.split(",").map((each) => each.trim()).filter(Boolean);
    const names = given ?? [...this.#categories].sort();
    parts.category.hidden = names.length < (given ? 1 : 2) && !this.#view.category;
    parts.category.replaceChildren(new Option(text.everyCategory, ""), ...names.map((name) => new Option(text.categoryName(name), name)));
    parts.category.value = this.#view.category ?? "";
    parts.readAll.disabled = !shown.some((item) => !item.read_at);
    parts.archiveAll.hidden = this.#view.state === "archived";
    parts.archiveAll.disabled = !shown.length;
    const status = this.#problem ? text[this.#problem] : this.#isLoading && !shown.length ? text.loading : shown.length ? "" : text.empty;
    if (parts.status.textContent !== status) parts.status.textContent = status;
    parts.status.hidden = !status;
    parts.older.hidden = this.#next === null;
    this.#drawList(shown);
  }

  #drawList(shown) {
    const list = this.#parts.list, old = new Map([...list.children].map((row) => [row.dataset.id, row]));
    const focused = this.#root.activeElement?.closest("li"), does = this.#root.activeElement?.dataset?.does;
    const index = [...list.children].indexOf(focused);
    const rows = shown.map((item) => {
      const key = JSON.stringify([item.change, item.read_at, item.archived_at, item.title]), row = old.get(item.id);
      return row?.dataset.key === key ? row : this.#row(item, key);
    });
    if (rows.length !== list.children.length || rows.some((row, at) => row !== list.children[at])) list.replaceChildren(...rows);
    if (focused && (!focused.isConnected || !this.#root.activeElement)) { // stay at the item, or at that in its place
      const row = rows.find((each) => each.dataset.id === focused.dataset.id) ?? rows[Math.min(index, rows.length - 1)];
      (row?.querySelector(does ? `[data-does="${does}"]` : ".what") ?? row?.querySelector(".what") ?? this.#parts.panel).focus();
    }
  }

  #row(item, key) {
    const text = this.#strings, unread = !item.read_at, url = item.url && safeUrl(item.url), at = new Date(item.created_at);
    const given = this.lang || document.documentElement.lang || navigator.language;
    const language = navigator.languages.find((each) => each === given || each.startsWith(`${given}-`)) ?? given;
    const name = make("span", { className: "name", part: "item-title" }, ...(unread ? [make("span", { className: "dot" }), make("span", { className: "quiet", textContent: `${text.isUnread}: ` })] : []), item.title);
    const time = make("time", { dateTime: item.created_at, part: "item-time", textContent: at.toLocaleString(language, { dateStyle: "medium", timeStyle: "short" }) });
    const what = make(url ? "a" : "div", { className: "what", part: "item-link", onclick: (event) => this.#choose(item.id, event), ...(url ? { href: url } : { tabIndex: 0, role: "button" }) }, name, ...(item.body ? [make("span", { className: "body", part: "item-body", textContent: item.body })] : []), time);
    const action = (does, label) => make("button", { type: "button", part: "action", textContent: label, "aria-label": `${label}: ${item.title}`, onclick: () => this.mark(does, [item.id]), "data-does": does.replace("un", "") });
    return make("li", { className: unread ? "unread" : "", part: unread ? "item item-unread" : "item", "data-id": item.id, "data-key": key }, what,
      make("div", { className: "does" }, unread ? action("read", text.markRead) : action("unread", text.markUnread), item.archived_at ? action("unarchived", text.unarchive) : action("archived", text.archive)));
  }

  #choose(id, event) {
    const item = this.#items.get(id);
    const chosen = new CustomEvent("notify-open", { detail: { item }, cancelable: true, bubbles: true, composed: true });
    if (!this.dispatchEvent(chosen)) event.preventDefault(); // the page shows it in its own way
    if (!item.read_at) this.mark("read", [id]);
  }

  #key(event) {
    const row = event.target.closest("li"), rows = [...this.#parts.list.children], at = rows.indexOf(row);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const item = this.#items.get(row?.dataset.id);
    if (to !== undefined) rows[Math.max(0, Math.min(to, rows.length - 1))]?.querySelector(".what").focus();
    else if (!item) return;
    else if (event.key === "r") this.mark(item.read_at ? "unread" : "read", [item.id]);
    else if (event.key === "e") this.mark(item.archived_at ? "unarchived" : "archived", [item.id]);
    else if ((event.key === "Enter" || event.key === " ") && event.target.getAttribute("role") === "button") event.target.click();
    else return;
    event.preventDefault();
  }
}

customElements.define("notify-inbox", NotifyInbox);
