// The views. Each is made once when it is opened: `load` asks for what it shows, `show` brings what is on the screen up to it.

const acts = document.documentElement.dataset.acts === "yes";
const jobLink = (job) => `#/job/${part(job)}`;
const executionLink = (id) => `#/execution/${part(id)}`;
const named = (name, href) => h("a", { class: "name", href, tabindex: "-1" }, name);

/** A button that asks first, and then for the change. */
function action(label, question, path, body) {
  if (!acts) return null;
  return h("button", { type: "button", onclick: () => dashboard.change(question, path, body) }, label);
}

const LIVE = [
  { title: "Scheduled", look: "n", cell: (row) => count(row.live.scheduled) },
  { title: "Running", look: "n", cell: (row) => count(row.live.running) },
  { title: "Retryable", look: "n", cell: (row) => count(row.live.retryable) },
];
const LAG = { title: "Oldest due", look: "w", cell: (row) => when(row.oldest_due_at) };
const PACE = {
  title: "Ended / min", look: "n",
  cell: ({ per_minute: { finished, dead } }) => [
    rate(finished) ?? h("span", { class: "zero" }, "–"), dead ? h("span", { class: "bad" }, ` (${rate(dead)} dead)`) : null,
  ],
};

function turns(row) {
  if (!row) return h("span", { class: "zero" }, "–");
  const burst = row.burst > 1 ? `, up to ${row.burst} at once` : "";
  return [
    `every ${row.turn_us < 1000 ? `${row.turn_us} µs` : span(row.turn_us / 1000)}${burst}`,
    row.next_at ? [" ", tag(row.shut > 1 ? `${row.shut.toLocaleString("en")} keys limited` : "limited", "warn"), h("span", { class: "soft" }, " next ", when(row.next_at))] : null,
  ];
}

function jobState(job) {
  if (job.paused_at) return tag("paused", "warn");
  if (job.stale_scopes) return tag(job.scopes > 1 ? `${job.stale_scopes} stale` : "stale", "bad");
  return tag("active", "good");
}

function jobs() {
  const table = new Table([
    { title: "Job", cell: (job) => named(job.job, jobLink(job.job)) },
    { title: "Schedule", cell: (job) => job.schedule ?? h("span", { class: "zero" }, "–") },
    { title: "State", cell: jobState },
    { title: "Scopes", look: "n", cell: (job) => count(job.scopes) },
    { title: "Last success", look: "w", cell: (job) => when(job.last_success?.finished_at) },
    { title: "Next due", look: "w", cell: (job) => when(job.next_due_at) },
    LAG, ...LIVE, PACE,
  ], "No job was ever registered here.");
  return {
    element: [table.element],
    show: (_, overview) => table.show(overview.jobs.filter(filtered((job) => [job.job, job.schedule])), (job) => job.job, (job) => jobLink(job.job)),
  };
}

const FRESH = {
  fresh: () => tag("fresh", "good"),
  paused: () => tag("paused", "warn"),
  unknown: () => tag("unknown", "soft"),
  stale: ({ missed, cause }) => [
    tag(`stale, ${missed >= 1000 ? "1,000 or more" : missed} missed`, "bad"),
    h("span", { class: "soft" }, cause === "not_planned" ? " not planned" : " not succeeding"),
  ],
};

function job([name]) {
  const scopes = new Table([
    { title: "Scope", cell: ({ scope }) => h("span", { class: "name" }, scopeOf(scope)) },
    { title: "Health", cell: ({ freshness }) => FRESH[freshness.is]?.(freshness) ?? freshness.is },
    { title: "Last success", look: "w", cell: ({ last_success }) => when(last_success?.finished_at) },
    { title: "Of slot", look: "w", cell: ({ last_success }) => last_success?.slot_at ?? h("span", { class: "zero" }, "–") },
    { title: "Planned up to", look: "w", cell: ({ planned_at }) => planned_at },
    { title: "Next due", look: "w", cell: ({ next_due_at }) => when(next_due_at) },
    ...(acts ? [{
      title: "", look: "w", cell: ({ scope, freshness }) => [
        action("run now", `Run ${name} for ${scopeOf(scope)} once, now, beside its schedule?`, "trigger",
          { job: name, scope_kind: scope.kind, scope_id: scope.id }),
        isGlobal(scope) ? null : " ",
        isGlobal(scope) ? null : freshness.is === "paused"
          ? action("resume", `Let ${name} go on for ${scopeOf(scope)}?`, "resume", { job: name, scope_kind: scope.kind, scope_id: scope.id })
          : action("pause", `Stop ${name} for ${scopeOf(scope)} on all replicas?`, "pause", { job: name, scope_kind: scope.kind, scope_id: scope.id }),
      ],
    }] : []),
  ], "No scope of it was ever planned.");
  const recent = executionTable("It has no execution that is still known.", false);
  const stored = scheduleTable(name);
  const fresh = acts ? h("div", { class: "bar" }, h("button", { type: "button", onclick: () => editSchedule(name) }, "new schedule")) : null;
  const schedules = h("div", { hidden: "" }, h("h2", {}, "Schedules ", h("small", {}, "kept in the database")), fresh, stored.element);
  const head = h("div");
  return {
    element: [head, scopes.element, schedules, h("h2", {}, "Executions ", h("small", {}, h("a", { href: `#/executions?job=${part(name)}` }, "all of them"))), recent.element],
    load: async () => ({ scopes: await ask("scopes", { job: name, limit: 200 }), recent: await ask("executions", { job: name, limit: 15 }),
      stored: await ask("schedules", { job: name, limit: 200 }) }),
    show: (data, overview) => {
      stored.show(data.stored);
      const entry = overview.jobs.find((row) => row.job === name);
      schedules.hidden = data.stored.schedules.length === 0 && !entry?.stored_schedules;
      head.replaceChildren(
        h("h2", {}, name, h("small", {}, entry ? entry.schedule ?? "" : "is not registered")),
        h("div", { class: "bar" }, entry ? [
          jobState(entry),
          entry.paused_at
            ? action("resume", `Let ${name} go on? Slots of the time of the pause are not made up for.`, "resume", { job: name })
            : action("pause", `Stop ${name} on all replicas? What runs goes on to its end.`, "pause", { job: name }),
          h("span", { class: "soft" }, data.scopes.total < entry.scopes ? `${data.scopes.total} of ${entry.scopes} scopes are judged` : ""),
        ] : []),
      );
      scopes.show(data.scopes.scopes.filter(filtered(({ scope }) => [scopeOf(scope)])), ({ scope }) => JSON.stringify(scope),
        ({ scope }) => `#/executions?job=${part(name)}&scope=${part(scopeOf(scope))}`);
      recent.show(data.recent.executions.filter(filtered(executionWords)), executionKey, (row) => executionLink(row.id));
    },
  };
}

const executionKey = (row) => `${row.id}/${row.generation}`;
const executionWords = (row) => [row.id, row.job, scopeOf(row.scope), row.state, row.error?.text, row.error?.code];

/** What a row waits for, or how it ended. */
/** `25 %, page 3 of 12`. */
const said = ({ permille, note }) => [Number.isInteger(permille) ? `${Math.floor(permille / 10)} %` : null, note].filter(Boolean).join(", ");

function fate(row) {
  if (row.skip_reason) return words(row.skip_reason);
  const error = row.error ? h("span", { class: "soft" }, `${row.error.code}: ${row.error.text.slice(0, 120)}`) : null;
  const ended = ["succeeded", "dead", "cancelled"].includes(row.state);
  let time = null;
  if (ended) time = row.duration_ms === null ? null : `took ${span(row.duration_ms)}`;
  else if (row.state === "running" && row.lease) time = [row.progress ? `${said(row.progress)}; ` : null, Date.parse(row.lease.expires_at) < clock.now() ? "lease ended " : "lease ends ", when(row.lease.expires_at)];
  else if (row.claimable_at) time = ["due ", when(row.claimable_at)];
  return [time, time && error ? "; " : null, error].flat();
}

function executionTable(empty, withJob = true) {
  return new Table([
    { title: "Changed", look: "w", cell: (row) => when(row.updated_at) },
    withJob ? { title: "Job or queue", cell: (row) => h("span", { class: "name" }, row.job) } : null,
    { title: "Scope", cell: (row) => (isGlobal(row.scope) ? h("span", { class: "zero" }, "–") : scopeOf(row.scope)) },
    { title: "State", cell: (row) => stateTag(row.state) },
    { title: "Attempt", look: "n", cell: (row) => `${row.attempt}/${row.policy.max_attempts}` },
    { title: "Slot", look: "w", cell: (row) => row.slot_at ?? h("span", { class: "zero" }, "–") },
    { title: "Why", cell: fate },
    { title: "Id", look: "w", cell: (row) => h("a", { href: executionLink(row.id), tabindex: "-1" }, h("code", {}, row.id.slice(0, 8))) },
  ].filter(Boolean), empty);
}

function executions(_, query) {
  const table = executionTable("No execution is as asked.");
  const chosen = new Set((query.get("state") ?? "").split(",").filter(Boolean));
  const go = (changes) => {
    const next = new URLSearchParams(query);
    for (const [name, value] of Object.entries(changes)) value ? next.set(name, value) : next.delete(name);
    location.hash = `#/executions${next.size ? `?${next}` : ""}`;
  };
  const chip = (state) => h("button", {
    type: "button", "aria-pressed": String(chosen.has(state)),
    onclick: () => {
      chosen.has(state) ? chosen.delete(state) : chosen.add(state);
      go({ state: [...chosen].join(","), after: null });
    },
  }, state);
  const field = (name, title, list) => h("input", {
    "aria-label": title, placeholder: title, value: query.get(name) ?? "", autocomplete: "off", spellcheck: "false", list,
    onchange: (event) => go({ [name]: event.target.value.trim(), after: null }),
  });
  const names = h("datalist", { id: "names" });
  const older = h("button", { type: "button", id: "older" }, "older");
  older.addEventListener("click", () => go({ after: older.dataset.after }));
  const newest = h("button", { type: "button", onclick: () => go({ after: null }) }, "newest");
  newest.hidden = !query.get("after");
  const bar = h("div", { class: "bar" }, field("job", "job or queue", "names"), field("scope", "scope: kind/id"), Object.keys(LOOKS).map(chip), names);
  const scope = query.get("scope");
  const slash = scope?.indexOf("/") ?? -1;
  const split = slash < 0 ? [null, null] : [scope.slice(0, slash), scope.slice(slash + 1)];
  return {
    element: [bar, table.element, h("div", { class: "bar" }, newest, older)],
    load: () => {
      if (scope && slash < 0) throw new Error("a scope is written kind/id, for example tenant/acme");
      return ask("executions", {
        job: query.get("job"), scope_kind: split[0], scope_id: split[1], state: query.get("state"), after: query.get("after"),
      });
    },
    show: (data, overview) => {
      const known = [...overview.jobs.map((row) => row.job), ...overview.queues.map((row) => row.queue)];
      if (names.children.length !== known.length) names.replaceChildren(...known.map((value) => h("option", { value })));
      table.show(data.executions.filter(filtered(executionWords)), executionKey, (row) => executionLink(row.id));
      older.hidden = !data.next;
      older.dataset.after = data.next ?? "";
    },
  };
}

function execution([id]) {
  const head = h("div");
  const body = h("div", { class: "halves" });
  const events = new Table([
    { title: "At", look: "w", cell: (event) => h("time", { datetime: event.at, title: event.at }, aged(event.at)) },
    { title: "Action", cell: (event) => h("span", { class: "name" }, words(event.action.replace(/^job_/, ""))) },
    { title: "By", cell: (event) => (event.actor.name.length > 20 ? h("code", { title: event.actor.name }, event.actor.name.slice(0, 8)) : event.actor.name) },
    { title: "Attempt", look: "n", cell: (event) => String(event.details.attempts) },
    { title: "Life", look: "n", cell: (event) => String(event.key.generation) },
  ], "Its job keeps no audit events, or they were pruned.");
  let shown = "";
  return {
    element: [head, body],
    load: () => ask("execution", { id }),
    show: (data) => {
      events.show(data.audit, (event) => JSON.stringify(event.key));
      // What a person reads and copies is left alone while nothing changes.
      const now = JSON.stringify(data.executions) + data.audit.length;
      if (now === shown) return;
      shown = now;
      const row = data.executions.at(-1);
      if (!row) {
        const what = data.audit.length ? "It was removed; what is left are its audit events." : "There is no such execution: it never was, or it was pruned.";
        head.replaceChildren(h("h2", {}, id), h("p", { class: "empty" }, what));
        body.replaceChildren(h("div", {}, data.audit.length ? events.element : null));
        return;
      }
      const ended = ["succeeded", "dead", "cancelled", "skipped"].includes(row.state);
      head.replaceChildren(
        h("h2", {}, row.job, h("small", {}, isGlobal(row.scope) ? "" : scopeOf(row.scope))),
        h("div", { class: "bar" }, stateTag(row.state), row.cancel_requested_at && !ended ? tag("asked to stop", "warn") : null,
          ended ? action("retry", "Give it another life, with all attempts, due at once?", "retry", { ids: [id] })
            : action("cancel", row.state === "running" ? "Ask its handler to stop?" : "Cancel it?", "cancel", { ids: [id] })),
      );
      const text = (title, value) => (value === null ? null : [h("h2", {}, title), value]);
      body.replaceChildren(
        h("div", {}, facts([
          ["id", h("code", {}, row.id)],
          ["slot", row.slot_at],
          ["due", row.due_at],
          ["claimable from", ended ? null : row.claimable_at],
          ["attempts", `${row.attempt} of ${row.policy.max_attempts}`],
          ["priority", row.priority ? String(row.priority) : null],
          ["unique key", row.unique_key],
          ["trace", row.trace && h("code", {}, row.trace.slice(3, 35))],
          ["skipped as", row.skip_reason && words(row.skip_reason)],
          ["finished", row.finished_at],
          ["took", row.duration_ms === null ? null : span(row.duration_ms)],
          ["rows affected", row.rows_affected === null ? null : String(row.rows_affected)],
          ["last held by", row.lease && h("code", {}, row.lease.runner)],
          ["under fence", row.lease && String(row.fence)],
          ["claimed", row.lease?.claimed_at],
          ["said", row.progress && [said(row.progress), " ", when(row.progress.at)]],
          ["last sign of life", row.lease?.heartbeat_at],
          ["lease", row.lease && !ended ? `until ${row.lease.expires_at}` : null],
          ["made", row.created_at],
          ["lives", data.executions.length > 1 || row.generation > 1
            ? data.executions.map((life) => `${life.generation}: ${life.state}`).join(", ") : null],
        ]),
        text("Error", row.error && h("div", {}, h("p", { class: "bad" }, row.error.code), h("pre", {}, row.error.text))),
        text("Input", row.payload && code(row.payload)), text("Result", row.result && row.result !== "{}" ? code(row.result) : null)),
        h("div", {}, h("h2", {}, "History"), events.element),
      );
    },
  };
}

function queues() {
  const table = new Table([
    { title: "Queue", cell: (row) => named(row.queue, `#/queue/${part(row.queue)}`) },
    ...LIVE, LAG, PACE, { title: "Rate", cell: (row) => turns(row.live.turns) },
  ], "No queue holds a live item, and none ended one lately.");
  return {
    element: [table.element],
    show: (_, overview) => table.show(overview.queues.filter(filtered((row) => [row.queue])), (row) => row.queue, (row) => `#/queue/${part(row.queue)}`),
  };
}

function queue([name]) {
  const recent = executionTable("It has no item that is still known.", false);
  const head = h("div");
  // They count rows, so they are asked for once.
  let figures = null;
  return {
    element: [h("h2", {}, name), head, h("h2", {}, "Items ", h("small", {}, h("a", { href: `#/executions?job=${part(name)}` }, "all of them"))), recent.element],
    load: async () => {
      figures ??= await ask("queue", { job: name });
      return ask("executions", { job: name, limit: 25 });
    },
    show: (data, overview) => {
      const live = overview.queues.find((row) => row.queue === name);
      const known = (state) => count(figures[state]);
      head.replaceChildren(facts([
        ["scheduled", count(live?.live.scheduled ?? 0)], ["running", count(live?.live.running ?? 0)], ["retryable", count(live?.live.retryable ?? 0)],
        ["oldest due", live?.oldest_due_at ? when(live.oldest_due_at) : null],
        ["ended a minute", live ? rate(live.per_minute.finished) : null],
        ["rate", live?.live.turns || figures.turns ? turns(live?.live.turns ?? figures.turns) : null],
        ["succeeded", known("succeeded")], ["dead", known("dead")], ["cancelled", known("cancelled")], ["skipped", known("skipped")],
        ["retries", known("retries")],
      ]));
      recent.show(data.executions.filter(filtered(executionWords)), executionKey, (row) => executionLink(row.id));
    },
  };
}

function locks() {
  const table = new Table([
    { title: "Lock", cell: (lock) => h("span", { class: "name" }, lock.lock) },
    { title: "State", cell: (lock) => (lock.held_by ? tag("held", "good") : tag("free", "soft")) },
    { title: "Epoch", look: "n", cell: (lock) => lock.epoch.toLocaleString("en") },
    { title: "Holder", cell: (lock) => (lock.held_by ? h("code", { title: lock.held_by }, lock.held_by) : h("span", { class: "zero" }, "–")) },
    { title: "Acquired", look: "w", cell: (lock) => when(lock.acquired_at) },
    { title: "Expires", look: "w", cell: (lock) => when(lock.expires_at) },
  ], "No lock was ever taken here.");
  return {
    element: [table.element],
    show: (_, overview) => table.show(overview.locks.filter(filtered((lock) => [lock.lock, lock.held_by])), (lock) => lock.lock),
  };
}

/** Buttons through pages that go by number. */
function pager(view, query) {
  const offset = Number(query.get("offset") ?? 0);
  const go = (to) => { location.hash = `#/${view}${to ? `?offset=${to}` : ""}`; };
  const first = h("button", { type: "button", onclick: () => go(0) }, "first");
  const more = h("button", { type: "button" }, "more");
  more.addEventListener("click", () => go(Number(more.dataset.next)));
  first.hidden = offset === 0;
  const show = (next) => { more.hidden = !next; more.dataset.next = next ?? 0; };
  return { offset, element: h("div", { class: "bar" }, first, more), show };
}

function missed(_, query) {
  const pages = pager("missed", query);
  const table = new Table([
    { title: "Job", cell: (entry) => named(entry.job, jobLink(entry.job)) },
    { title: "Scope", cell: (entry) => (isGlobal(entry.scope) ? h("span", { class: "zero" }, "–") : scopeOf(entry.scope)) },
    { title: "Slots", look: "n", cell: ({ slots }) => (slots.count === null ? "?" : slots.count.toLocaleString("en")) },
    { title: "After", look: "w", cell: ({ slots }) => slots.after },
    { title: "Through", look: "w", cell: ({ slots }) => slots.through },
    { title: "Why", cell: ({ slots }) => tag(words(slots.reason), ["outside_window", "late"].includes(slots.reason) ? "warn" : "soft") },
    { title: "Recorded", look: "w", cell: (entry) => when(entry.recorded_at) },
  ], "No slot was missed.");
  return {
    element: [table.element, pages.element],
    load: () => ask("missed", { offset: pages.offset }),
    show: (data) => {
      pages.show(data.next);
      table.show(data.entries.filter(filtered((entry) => [entry.job, scopeOf(entry.scope), words(entry.slots.reason)])), (entry) => JSON.stringify(entry), (entry) => jobLink(entry.job));
    },
  };
}

function pauses(_, query) {
  const pages = pager("pauses", query);
  const table = new Table([
    { title: "Job", cell: (pause) => named(pause.job, jobLink(pause.job)) },
    { title: "Scope", cell: (pause) => (pause.scope ? scopeOf(pause.scope) : h("span", { class: "soft" }, "all")) },
    { title: "State", cell: (pause) => (pause.resumed_at ? tag("lifted", "soft") : tag("in force", "warn")) },
    { title: "Paused", look: "w", cell: (pause) => when(pause.paused_at) },
    { title: "By", cell: (pause) => pause.paused_by },
    { title: "Lifted", look: "w", cell: (pause) => when(pause.resumed_at) },
    { title: "By", cell: (pause) => pause.resumed_by ?? h("span", { class: "zero" }, "–") },
  ], "Nothing was ever paused.");
  return {
    element: [table.element, pages.element],
    load: () => ask("pauses", { offset: pages.offset }),
    show: (data) => {
      pages.show(data.next);
      table.show(data.pauses.filter(filtered((pause) => [pause.job, pause.paused_by, pause.scope && scopeOf(pause.scope)])), (pause) => pause.id, (pause) => jobLink(pause.job));
    },
  };
}

const VIEWS = { jobs, job, edits, executions, execution, queues, queue, locks, missed, pauses };
const TABS = ["jobs", "executions", "queues", "locks", "missed", "pauses"];
const TAB_OF = { job: "jobs", edits: "jobs", execution: "executions", queue: "queues" };
