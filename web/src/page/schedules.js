// Schedules that the database keeps: those in force, every edit of one, and the form in which a person edits them.

/** What the distance of a grid is told in, largest first, in microseconds. */
const UNITS = [["days", 86400e6], ["hours", 3600e6], ["minutes", 60e6], ["seconds", 1e6], ["milliseconds", 1e3]];

const editsLink = (job, { kind, id }) => `#/edits?job=${part(job)}&kind=${part(kind)}&id=${part(id)}`;

/** Also what two schedules of the same words differ in. */
function scheduleWords({ stored, words: text, when: form }) {
  if (!stored.schedule) return tag("removed", "soft");
  if (!text) return tag("cannot be read", "bad");
  const rest = [
    form?.gap && `skipped times: ${words(form.gap)}`, form?.fold && `repeated times: ${form.fold}`, form?.anchor && `one at ${form.anchor}`,
  ].filter(Boolean);
  return rest.length ? [text, h("span", { class: "soft" }, `, ${rest.join(", ")}`)] : text;
}

/** Those of one job that are in force. */
function scheduleTable(job) {
  const more = h("p", { class: "soft", hidden: "" }, "There are more. Whoever edits one of them names its scope in a new schedule.");
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
    element: [table.element, more],
    show: ({ schedules, next }) => {
      more.hidden = !next;
      table.show(schedules.filter(filtered(({ stored, words }) => [scopeOf(stored.scope), words, stored.edited_by, stored.note])),
        ({ stored }) => JSON.stringify(stored.scope), ({ stored }) => editsLink(job, stored.scope));
    },
  };
}

/** The edits of one scope's schedule, in the order in which they were made. */
function edits(_, query) {
  const [job, kind, id] = ["job", "kind", "id"].map((name) => query.get(name) ?? "");
  const table = new Table([
    { title: "Revision", look: "n", cell: ({ stored }) => String(stored.revision) },
    { title: "Schedule", cell: scheduleWords },
    { title: "Since", look: "w", cell: ({ stored }) => when(stored.edited_at) },
    { title: "By", cell: ({ stored }) => stored.edited_by },
    { title: "Until", look: "w", cell: ({ stored }) => (stored.replaced_at ? when(stored.replaced_at) : tag(stored.schedule ? "in force" : "newest", "good")) },
    { title: "Note", cell: ({ stored }) => stored.note ?? h("span", { class: "zero" }, "–") },
  ], "Nobody edited it.");
  const later = h("button", { type: "button" }, "later");
  later.addEventListener("click", () => { location.hash = `${editsLink(job, { kind, id })}&after=${part(later.dataset.after)}`; });
  return {
    element: [h("h2", {}, h("a", { href: jobLink(job) }, job), h("small", {}, `edits of the schedule of ${kind}/${id}`)), table.element,
      h("div", { class: "bar" }, later)],
    load: () => ask("schedules", { job, scope_kind: kind, scope_id: id, all: true, limit: 100, after: query.get("after") }),
    show: ({ schedules, next }) => {
      later.hidden = !next;
      later.dataset.after = next ?? "";
      table.show(schedules.filter(filtered(({ stored, words }) => [words, stored.edited_by, stored.note])), ({ stored }) => stored.revision);
    },
  };
}

/** The schedule that the form says, or in words what it lacks. */
function drafted({ kind, cron, zone, gap, fold, every, unit, anchor }) {
  if (kind.value === "cron") {
    if (!cron.value.trim()) return "give a pattern, for example 0 8 * * mon-fri";
    const rules = { ...(gap.value && { gap: gap.value }), ...(fold.value && { fold: fold.value }) };
    return { cron: cron.value.trim(), ...(zone.value.trim() && { zone: zone.value.trim() }), ...rules };
  }
  const every_us = Math.round(Number(every.value) * Number(unit.value));
  if (!(every_us > 0)) return "give the distance from slot to slot, for example 15 minutes";
  return { every_us, ...(anchor.value.trim() && { anchor: anchor.value.trim() }) };
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

/** Which opening of the form this is, and which draft in it: an answer that belongs to an earlier one is not for what is there now. */
let [formOpening, formTurn] = [0, 0];

/** Opens the form: of what a scope has, or of a scope that is to be named. */
function editSchedule(job, row = null) {
  const dialog = byId("edit");
  const form = dialog.querySelector("form");
  const fields = form.elements;
  const line = byId("preview");
  formOpening += 1;
  const opening = formOpening;
  let [shown, expect] = [null, row?.stored.revision ?? 0];
  const say = (look, ...text) => { line.className = look; line.replaceChildren(...text.flat(Infinity)); };
  const look = async (turn, draft) => {
    try {
      const { words, next, refused } = await ask("preview", { when: JSON.stringify(draft) });
      if (turn !== formTurn) return;
      if (refused) return say("bad", refused);
      say("soft", `${words}: `, next.length ? "next" : "it has no slot any more", next.map((slot) => [" ", h("span", {}, slot)]));
    } catch (error) {
      if (turn === formTurn) say("bad", error.message);
    }
  };
  // The slots of each change are shown once the person stops for a moment.
  const changed = () => {
    for (const part of form.querySelectorAll("[data-kind]")) part.hidden = part.disabled = part.dataset.kind !== fields.kind.value;
    const draft = drafted(fields);
    if (JSON.stringify(draft) === shown) return;
    shown = JSON.stringify(draft);
    formTurn += 1;
    const turn = formTurn;
    say("soft", typeof draft === "string" ? draft : "");
    if (typeof draft !== "string") setTimeout(() => { if (turn === formTurn) look(turn, draft); }, 150);
  };
  const named = () => {
    if (row) return row.stored.scope;
    const [kind, ...id] = fields.scope.value.trim().split("/");
    return id.length ? { kind, id: id.join("/") } : null;
  };
  form.reset();
  fields.save.disabled = false;
  fields.unit.replaceChildren(...UNITS.map(([name, size]) => h("option", { value: size }, name)));
  byId("zones").replaceChildren(...["UTC", ...(Intl.supportedValuesOf?.("timeZone") ?? [])].map((value) => h("option", { value })));
  fill(fields, row);
  byId("edited").textContent = row ? `Schedule of ${job} for ${scopeOf(row.stored.scope)}` : `A schedule of ${job}`;
  form.oninput = changed;
  form.onsubmit = async (event) => {
    event.preventDefault();
    const [draft, scope] = [drafted(fields), named()];
    if (!scope) return say("bad", "a scope is written kind/id, for example tenant/acme or global/global");
    if (typeof draft === "string") return say("bad", draft);
    formTurn += 1;
    fields.save.disabled = true;
    let answer;
    try {
      answer = await ask("put_schedule", {}, { job, scope_kind: scope.kind, scope_id: scope.id, when: draft, expect, note: fields.note.value });
    } catch (error) {
      answer = { done: false, text: error.message };
    }
    if (opening !== formOpening) return dashboard.changed(answer.text, answer.done ? "done" : "refused");
    fields.save.disabled = false;
    if (answer.done) {
      dialog.close();
      return dashboard.changed(answer.text, "done");
    }
    const is_conflict = answer.in_force !== undefined;
    if (is_conflict) expect = answer.in_force ?? 0;
    say("bad", answer.text, is_conflict ? ". Save once more to put this in its place" : "");
  };
  // A revision that was in the way is that of the scope that was named then.
  fields.scope.oninput = () => { expect = 0; };
  fields.cancel.onclick = () => dialog.close();
  // One that is told when the form is open again was of the opening before.
  dialog.onclose = () => { if (!dialog.open) [formOpening, formTurn] = [formOpening + 1, formTurn + 1]; };
  changed();
  dialog.showModal();
  (row ? fields[fields.kind.value] : fields.scope).focus();
}
