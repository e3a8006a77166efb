// Schedules that the database keeps: those in force, every edit of one, and the form in which a person edits them.

/** What the distance of a grid is told in, largest first, in microseconds. */
const UNITS = [["days", 86400e6], ["hours", 3600e6], ["minutes", 60e6], ["seconds", 1e6], ["milliseconds", 1e3]];

const scheduleWords = ({ stored, words }) => (stored.schedule ? words ?? tag("cannot be read", "bad") : tag("removed", "soft"));
const editsLink = (job, scope) => `#/edits?job=${part(job)}&scope=${part(scopeOf(scope))}`;

/** Those of one job that are in force. */
function scheduleTable(job) {
  const table = new Table([
    { title: "Scope", cell: ({ stored: { scope } }) => h("span", { class: "name" }, scopeOf(scope)) },
    { title: "Schedule", cell: scheduleWords },
    { title: "Revision", look: "n", cell: ({ stored }) => h("a", { href: editsLink(job, stored.scope), tabindex: "-1" }, stored.revision) },
    { title: "Since", look: "w", cell: ({ stored }) => when(stored.edited_at) },
    { title: "By", cell: ({ stored }) => stored.edited_by },
    { title: "Note", cell: ({ stored }) => stored.note ?? h("span", { class: "zero" }, "–") },
    ...(acts ? [{
      title: "", look: "w", cell: (row) => [
        h("button", { type: "button", onclick: () => editSchedule(job, row) }, "edit"), " ",
        action("remove", `Take the schedule of ${job} for ${scopeOf(row.stored.scope)} away? What waits or runs goes on.`, "remove_schedule",
          { job, scope_kind: row.stored.scope.kind, scope_id: row.stored.scope.id, expect: row.stored.revision }),
      ],
    }] : []),
  ], "The database keeps no schedule of it: it makes no slots.");
  return {
    element: table.element,
    show: (rows) => table.show(rows.filter(filtered(({ stored, words }) => [scopeOf(stored.scope), words, stored.edited_by, stored.note])),
      ({ stored }) => JSON.stringify(stored.scope), ({ stored }) => editsLink(job, stored.scope)),
  };
}

/** Every edit of one scope's schedule, the newest first. */
function edits(_, query) {
  const [job, scope] = [query.get("job"), query.get("scope") ?? ""];
  const slash = scope.indexOf("/");
  const table = new Table([
    { title: "Revision", look: "n", cell: ({ stored }) => String(stored.revision) },
    { title: "Schedule", cell: scheduleWords },
    { title: "Since", look: "w", cell: ({ stored }) => when(stored.edited_at) },
    { title: "By", cell: ({ stored }) => stored.edited_by },
    { title: "Until", look: "w", cell: ({ stored }) => (stored.replaced_at ? when(stored.replaced_at) : tag(stored.schedule ? "in force" : "newest", "good")) },
    { title: "Note", cell: ({ stored }) => stored.note ?? h("span", { class: "zero" }, "–") },
  ], "Nobody edited it, or its edits were pruned.");
  return {
    element: [h("h2", {}, h("a", { href: jobLink(job) }, job), h("small", {}, `edits of the schedule of ${scope}`)), table.element],
    load: async () => {
      if (slash < 0) throw new Error("a scope is written kind/id, for example tenant/acme");
      const rows = [];
      let after = null;
      do {
        const page = await ask("schedules", { job, scope_kind: scope.slice(0, slash), scope_id: scope.slice(slash + 1), all: true, limit: 500, after });
        rows.push(...page.schedules);
        after = page.next;
      } while (after);
      return rows.reverse();
    },
    show: (rows) => table.show(rows.filter(filtered(({ stored, words }) => [words, stored.edited_by, stored.note])), ({ stored }) => stored.revision),
  };
}

/** The schedule that the form says; null while it says none. */
function drafted({ kind, cron, zone, gap, fold, every, unit, anchor }) {
  if (kind.value === "cron") {
    const rules = { ...(gap.value && { gap: gap.value }), ...(fold.value && { fold: fold.value }) };
    return cron.value.trim() && zone.value.trim() ? { cron: cron.value.trim(), zone: zone.value.trim(), ...rules } : null;
  }
  const every_us = Math.round(Number(every.value) * Number(unit.value));
  return every_us > 0 ? { every_us, ...(anchor.value.trim() && { anchor: anchor.value.trim() }) } : null;
}

function fill({ scope, kind, cron, zone, gap, fold, every, unit, anchor }, row) {
  const had = row?.when ?? { cron: "", zone: "UTC" };
  scope.value = row ? scopeOf(row.stored.scope) : "";
  scope.readOnly = Boolean(row);
  kind.value = had.every_us === undefined ? "cron" : "every";
  cron.value = had.cron ?? "";
  zone.value = had.zone ?? "UTC";
  gap.value = had.gap ?? "";
  fold.value = had.fold ?? "";
  const [, size] = UNITS.find(([, size]) => (had.every_us ?? 60e6) % size === 0) ?? UNITS.at(-1);
  unit.value = String(size);
  every.value = had.every_us === undefined ? "" : String(had.every_us / size);
  anchor.value = had.anchor ?? "";
}

/** Opens the form: of what a scope has, or of a scope that is to be named. What was typed stays there until it is saved. */
function editSchedule(job, row = null) {
  const dialog = byId("edit");
  const form = dialog.querySelector("form");
  const fields = form.elements;
  const line = byId("preview");
  let turn = 0;
  const say = (look, ...text) => { line.className = look; line.replaceChildren(...text.flat(Infinity)); };
  const look = async (mine, draft) => {
    try {
      const { words, next, refused } = await ask("preview", { when: JSON.stringify(draft) });
      if (mine !== turn) return;
      if (refused) return say("bad", refused);
      say("soft", `${words}: `, next.length ? "next" : "it has no slot any more", next.map((slot) => [" ", h("span", {}, slot)]));
      fields.save.disabled = false;
    } catch (error) {
      if (mine === turn) say("bad", error.message);
    }
  };
  // Each change is looked at once the person stops for a moment; what was asked before does not count any more.
  const changed = () => {
    turn += 1;
    const [mine, draft] = [turn, drafted(fields)];
    for (const part of form.querySelectorAll("[data-kind]")) part.hidden = part.dataset.kind !== fields.kind.value;
    fields.save.disabled = true;
    say("soft", "");
    if (draft) setTimeout(() => { if (mine === turn) look(mine, draft); }, 150);
  };
  form.reset();
  fields.unit.replaceChildren(...UNITS.map(([name, size]) => h("option", { value: size }, name)));
  byId("zones").replaceChildren(...["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])].map((value) => h("option", { value })));
  fill(fields, row);
  byId("edited").textContent = row ? `Schedule of ${job} for ${scopeOf(row.stored.scope)}` : `A schedule of ${job}`;
  form.oninput = changed;
  form.onsubmit = async (event) => {
    event.preventDefault();
    const scope = fields.scope.value.trim();
    const slash = scope.indexOf("/");
    if (slash < 0) return say("bad", "a scope is written kind/id, for example tenant/acme or global/global");
    const body = {
      job, scope_kind: scope.slice(0, slash), scope_id: scope.slice(slash + 1),
      when: drafted(fields), expect: row?.stored.revision ?? 0, note: fields.note.value,
    };
    try {
      const { done, text } = await ask("put_schedule", {}, body);
      if (!done) return say("bad", text);
      dialog.close();
      await dashboard.changed(text, "done");
    } catch (error) {
      say("bad", error.message);
    }
  };
  fields.cancel.onclick = () => dialog.close();
  changed();
  dialog.showModal();
  (row ? fields[fields.kind.value] : fields.scope).focus();
}
