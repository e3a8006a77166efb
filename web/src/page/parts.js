"use strict";
// What views are made of. Everything that comes from the database becomes a text node or an attribute that cannot run:
// nothing here, or anywhere in this page, parses markup.

/** An element with attributes (a class by `class`, listeners by `onclick` and so on) and children; null ones are left out. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** The database's time: as of the last answer, and how long ago that was by a clock that nobody sets. */
const clock = {
  at: Date.now(), told: performance.now(),
  set(now) { if (now) { this.at = Date.parse(now); this.told = performance.now(); } },
  now() { return this.at + performance.now() - this.told; },
};

/** Two units at most: 3d 4h, 5m 3s, 12s, 340ms. */
function span(ms) {
  if (ms < 1000) return `${Math.max(0, Math.round(ms))}ms`;
  const seconds = Math.floor(ms / 1000);
  for (const [size, unit, below, small] of [[86400, "d", 3600, "h"], [3600, "h", 60, "m"], [60, "m", 1, "s"]]) {
    if (seconds >= size) {
      const rest = Math.floor((seconds % size) / below);
      return `${Math.floor(seconds / size)}${unit}${rest ? ` ${rest}${small}` : ""}`;
    }
  }
  return `${seconds}s`;
}

function aged(at) {
  const apart = Date.parse(at) - clock.now();
  if (Math.abs(apart) < 1000) return "now";
  return apart < 0 ? `${span(-apart)} ago` : `in ${span(apart)}`;
}

/** An instant, told by its age; the instant itself when pointed at. */
function when(at) {
  return at ? h("time", { datetime: at, title: at }, aged(at)) : h("span", { class: "zero" }, "–");
}

function tick() {
  for (const time of document.querySelectorAll("main time")) {
    const text = aged(time.dateTime);
    if (time.textContent !== text) time.textContent = text;
  }
}

const scopeOf = (scope) => `${scope.kind}/${scope.id}`;
const isGlobal = (scope) => scope.kind === "global" && scope.id === "global";
const count = (number) => h("span", number ? {} : { class: "zero" }, number.toLocaleString("en"));
const rate = (number) => (number ? (number < 9.95 ? number.toFixed(1) : Math.round(number).toLocaleString("en")) : null);
const tag = (text, look) => h("span", { class: `tag ${look}` }, text);
const words = (text) => text.replaceAll("_", " ");
const part = encodeURIComponent;

const LOOKS = {
  scheduled: "soft", running: "blue", retryable: "warn", succeeded: "good", dead: "bad", cancelled: "soft", skipped: "soft",
};
const stateTag = (state) => tag(state, LOOKS[state] ?? "soft");

/** Text of others, pretty where it is JSON. */
function code(text) {
  let shown = text;
  try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch { /* then it is shown as it is */ }
  return h("pre", {}, shown);
}

/** A table whose rows stay the same elements from look to look, so that focus, selection and pointer stay where they are. */
class Table {
  constructor(columns, empty) {
    this.columns = columns;
    this.body = h("tbody");
    const head = columns.map(({ title, look }) => h("th", { class: look, scope: "col" }, title));
    this.table = h("table", {}, h("thead", {}, h("tr", {}, head)), this.body);
    this.empty = h("p", { class: "empty" }, empty);
    this.element = h("div", { class: "scroll" }, this.table, this.empty);
    this.rows = new Map();
  }

  /** `key` tells rows apart, `href` is where a row leads. */
  show(items, key, href = () => null) {
    const kept = new Map();
    const order = items.map((item) => {
      const id = key(item);
      const row = this.rows.get(id) ?? h("tr", { tabindex: "0" });
      const target = href(item);
      if (target) row.dataset.href = target; else delete row.dataset.href;
      const cells = this.columns.map(({ cell, look }) => h("td", { class: look }, cell(item)));
      if (row.children.length !== cells.length || cells.some((cell, n) => !cell.isEqualNode(row.children[n]))) {
        row.replaceChildren(...cells);
      }
      kept.set(id, row);
      return row;
    });
    this.rows = kept;
    for (const row of [...this.body.children]) if (!order.includes(row)) row.remove();
    order.forEach((row, n) => { if (this.body.children[n] !== row) this.body.insertBefore(row, this.body.children[n] ?? null); });
    this.table.hidden = order.length === 0;
    this.empty.hidden = order.length > 0;
  }
}

/** Term and description, those without a description left out. */
function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== null && value !== undefined);
  return h("dl", { class: "facts" }, shown.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

/** Asks the router; an answer that is none becomes an error with the words of the server. */
async function ask(path, query = {}, body = null) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(given).toString();
  const base = location.pathname.replace(/\/+$/, "");
  const sent = body === null ? {} : {
    method: "POST", body: JSON.stringify(body),
    headers: { "content-type": "application/json", "x-tourbillon-action": "1" },
  };
  const response = await fetch(`${base}/api/${path}${search ? `?${search}` : ""}`, { ...sent, credentials: "same-origin" });
  const answer = await response.json().catch(() => null);
  if (!response.ok || answer === null) throw new Error(answer?.error ?? `the server answers with ${response.status}`);
  clock.set(answer.now);
  return answer;
}
