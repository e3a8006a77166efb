// What moves the page: where it is, when it looks, and what keys and buttons do.

/** From look to look. */
const EVERY_MS = 2000;

const byId = (id) => document.getElementById(id);

/** A test for rows: whether their texts together have every word of the filter. */
function filtered(texts) {
  const wanted = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  return (row) => {
    if (wanted.length === 0) return true;
    const text = texts(row).filter(Boolean).join(" ").toLowerCase();
    return wanted.every((word) => text.includes(word));
  };
}

const dashboard = {
  view: null, name: "", overview: null, data: null, live: true, looks: 0, turn: 0, busy: false,

  /** Opens what the address says. */
  async open() {
    const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
    const [name, ...rest] = path.split("/");
    this.turn += 1;
    this.name = VIEWS[name] ? name : "jobs";
    this.view = VIEWS[this.name](rest.map(decodeURIComponent), new URLSearchParams(search));
    this.data = null;
    const tab = TAB_OF[this.name] ?? this.name;
    for (const link of document.querySelectorAll("nav a")) {
      if (link.hash === `#/${tab}`) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    }
    byId("view").replaceChildren(...this.view.element);
    this.trouble(null);
    await this.look();
  },

  /** Asks for everything that is on the screen, and shows it. An answer that comes after the person went on is dropped. */
  async look() {
    const { turn, view } = this;
    this.busy = true;
    try {
      const [overview, data] = await Promise.all([ask("overview"), view.load?.() ?? null]);
      if (turn !== this.turn) return;
      this.overview = overview;
      this.data = data;
      this.looks += 1;
      if (byId("trouble").dataset.of === "look") this.trouble(null);
      this.show();
    } catch (error) {
      if (turn === this.turn) this.trouble(`${error.message}: what is shown is as it was before`, "look");
    } finally {
      if (turn === this.turn) this.busy = false;
    }
  },

  show() {
    if (!this.overview) return;
    const { is_healthy: well, findings, jobs, queues, locks, now, acts_as: actor } = this.overview;
    const held = locks.filter((lock) => lock.held_by).length;
    const verdict = byId("verdict");
    verdict.className = well ? "well" : "unwell";
    const running = [...jobs, ...queues].reduce((sum, { live }) => sum + live.running, 0);
    verdict.replaceChildren(
      h("b", {}, well ? "Well" : "Unwell"),
      ` · ${jobs.length} jobs · ${queues.length} queues · ${running} running · ${held} of ${locks.length} locks held · database clock ${now.replace(/\.\d+Z$/, "Z")}`,
      actor ? ` · you act as ${actor}` : "",
    );
    const list = byId("findings");
    list.hidden = well;
    list.replaceChildren(...findings.map(({ text }) => h("li", {}, text)));
    this.view.show(this.data, this.overview);
    tick();
  },

  /** Says what went wrong, or what was done. */
  trouble(text, of = "") {
    const line = byId("trouble");
    line.hidden = !text;
    line.textContent = text ?? "";
    line.dataset.of = of;
    line.className = of === "done" ? "done" : "";
  },

  /** Asks the person, then the server. (The click says yes, not the end of the dialog: that is told later, perhaps of the one before.) */
  change(question, path, body) {
    const dialog = byId("ask");
    byId("question").textContent = question;
    dialog.querySelector("[value=yes]").onclick = async () => {
      try {
        const { done, text } = await ask(path, {}, body);
        await this.changed(text, done ? "done" : "refused");
      } catch (error) {
        await this.changed(error.message, "refused");
      }
    };
    dialog.showModal();
  },

  /** Says what became of a change, and looks what there is now. */
  async changed(text, of) {
    this.trouble(text, of);
    // A look is shared for a second: what was just changed may not be in it yet.
    setTimeout(() => this.look(), 1100);
    await this.look();
  },

  follow(live) {
    this.live = live;
    byId("live").setAttribute("aria-pressed", String(live));
    byId("live").textContent = live ? "live" : "stopped";
    if (live) this.look();
  },

  theme(name) {
    document.documentElement.dataset.theme = name;
  },

  /** For tests and the curious. */
  state() {
    const rows = [...document.querySelectorAll("main tbody tr")];
    return {
      view: this.name, rows: rows.length, focused: rows.indexOf(document.activeElement), looks: this.looks, live: this.live,
      theme: document.documentElement.dataset.theme, trouble: byId("trouble").hidden ? "" : byId("trouble").textContent,
      busy: this.busy,
    };
  },
};
window.dashboard = dashboard;

function move(by) {
  const rows = [...document.querySelectorAll("main tbody tr")];
  if (rows.length === 0) return;
  const at = rows.indexOf(document.activeElement.closest?.("tr"));
  const to = at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by));
  rows[to].focus();
}

const KEYS = {
  j: () => move(1), ArrowDown: () => move(1), k: () => move(-1), ArrowUp: () => move(-1),
  "/": () => byId("filter").select(),
  n: () => { const older = byId("older"); if (older && !older.hidden) older.click(); },
  " ": () => dashboard.follow(!dashboard.live),
  r: () => dashboard.look(),
  t: () => byId("theme").click(),
  "?": () => byId("keys").showModal(),
  // Back from one thing to the list of them, and no further.
  Escape: () => { if (TAB_OF[dashboard.name]) history.back(); },
  Enter: () => { const row = document.activeElement.closest?.("tr[data-href]"); if (row) location.hash = row.dataset.href; },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const { activeElement: active } = document;
  if (active.matches("input")) {
    if (event.key === "Escape" || (event.key === "Enter" && active.id === "filter")) {
      if (event.key === "Escape" && active.id === "filter") { active.value = ""; dashboard.show(); }
      active.blur();
      if (event.key === "Enter") move(1);
      event.preventDefault();
    }
    return;
  }
  // A button is pressed, and a link followed, by the keys that do so everywhere.
  if (active.matches("button, a") && (event.key === " " || event.key === "Enter")) return;
  const tab = TABS[Number(event.key) - 1];
  const act = tab ? () => { location.hash = `#/${tab}`; } : KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("click", (event) => {
  const row = event.target.closest("main tr[data-href]");
  if (row && !event.target.closest("a, button") && !String(getSelection())) location.hash = row.dataset.href;
});

byId("filter").addEventListener("input", () => dashboard.show());
byId("live").addEventListener("click", () => dashboard.follow(!dashboard.live));
byId("help").addEventListener("click", () => byId("keys").showModal());
byId("keys").addEventListener("click", (event) => { if (event.target === byId("keys")) byId("keys").close(); });

const dark = matchMedia("(prefers-color-scheme: dark)");
const system = () => (dark.matches ? "dark" : "light");
let chosen = null;
dashboard.theme(system());
dark.addEventListener("change", () => { if (!chosen) dashboard.theme(system()); });
byId("theme").addEventListener("click", () => {
  chosen = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  dashboard.theme(chosen);
});

addEventListener("hashchange", () => dashboard.open());
setInterval(tick, 1000);
setInterval(() => { if (dashboard.live && !document.hidden && !dashboard.busy) dashboard.look(); }, EVERY_MS);
document.addEventListener("visibilitychange", () => { if (dashboard.live && !document.hidden) dashboard.look(); });
dashboard.open();
