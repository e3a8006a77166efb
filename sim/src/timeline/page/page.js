// The page: what is in focus, and what keys and pointer do. Everything shown follows from `run`, `view` and `focus`.

const began = performance.now();
const $ = (id) => document.getElementById(id);
const run = new Run(JSON.parse($("run").textContent));
const layout = new Layout(run);
const view = new View(run, layout);
const painter = new Painter(run, layout, view);
const focus = { mark: run.marks.length ? 0 : -1, selected: null, hovered: null, pointer: null, dragging: false };

let asked = false;
function repaint() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    painter.paint($("lanes"), focus);
    painter.overview($("overview"));
  });
}

function element(tag, text, attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  if (text) made.textContent = text;
  return made;
}

/** Pairs of term and description; the empty ones are left out. */
function table(pairs) {
  const list = element("dl");
  for (const [term, text] of pairs) if (text) list.append(element("dt", term), element("dd", text));
  return list;
}

function showMark(number, moves = true) {
  const place = $("place"), mark = run.marks[number];
  $("violation").replaceChildren();
  place.parentElement.classList.toggle("broken", run.marks.length > 0);
  if (!mark) {
    place.textContent = "every guarantee held";
    $("violation").append(element("p", "Nothing was found broken in this run."));
  } else {
    focus.mark = number;
    place.textContent = `violation ${number + 1} of ${run.marks.length}`;
    const list = element("ol");
    mark.events.forEach((event, n) => {
      const button = element("button", "", { onclick: () => select({ type: "point", index: event }, true) });
      const host = run.lanes[run.points.lane[event]].name;
      for (const text of [String(n + 1), elapsed(run.at[event]), host, run.pointLabel(event)]) button.append(element("span", text));
      const item = element("li");
      item.append(button);
      list.append(item);
    });
    $("violation").append(element("h2", mark.guarantee, { className: "guarantee" }), element("p", mark.message), list);
    if (moves) {
      view.show(...mark.view);
      view.fold();
      if (mark.events.length) view.reveal(layout.pointRow[mark.events.at(-1)]);
    }
  }
  if (run.replay) {
    const again = element("p", "replay: ", { className: "soft" });
    again.append(element("code", run.replay));
    $("violation").append(again);
  }
  repaint();
}

/** What is known of an event or a bar, as pairs. */
function facts({ type, index }) {
  if (type === "point") {
    const lane = run.points.lane[index];
    const from = run.links[index];
    return [
      ["event", `${index} (line ${index + 1} of the history), ${run.pointKinds[run.points.kind[index]]}`],
      ["true time", elapsed(run.at[index], 1)],
      ["own clock", ownTime(lane, run.at[index])],
      ["about", run.about(run.points.about[index]).join("; ")],
      ["came from", from < 0 ? "" : `event ${from}, ${duration(run.at[index] - run.at[from])} before: ${run.pointLabel(from)}`],
      ["request", [...run.ofRequest(index)].filter((other) => other !== index)
        .map((other) => `event ${other}: ${run.pointLabel(other)}`).join("; ")],
    ];
  }
  const lane = run.bars.lane[index];
  return [
    [run.barNames[run.bars.kind[index]], `${elapsed(run.barFrom[index], 1)} to ${elapsed(run.barTo[index], 1)}, ${duration(run.barTo[index] - run.barFrom[index])}`],
    ["ended", run.barNote(index) || "not before the end of the run"],
    ["own clock", ownTime(lane, run.barFrom[index])],
    ["about", run.about(run.bars.about[index]).join("; ")],
    ["events", [run.bars.first[index], run.bars.last[index]].filter((event) => event >= 0).join(", ")],
  ];
}

function ownTime(lane, at) {
  const { sort } = run.lanes[lane];
  if (sort !== "replica" && sort !== "database") return "";
  const { skew } = run.clock(lane, at);
  return `${timeOfDay(run.epoch, at + skew, 1)} ${skewText(skew)}`;
}

const laneOf = ({ type, index }) => run.lanes[(type === "point" ? run.points : run.bars).lane[index]].name;
const labelOf = ({ type, index }) => (type === "point" ? run.pointLabel(index) : run.barLabel(index));

function select(item, moves) {
  focus.selected = item;
  if (item && moves) {
    const at = item.type === "point" ? run.at[item.index] : run.barFrom[item.index];
    if (at < view.from || at > view.to) view.pan((at - (view.from + view.to) / 2) / view.perPixel);
    view.reveal(item.type === "point" ? layout.pointRow[item.index] : item.row);
  }
  $("details").replaceChildren(...(item
    ? [element("h2", `${laneOf(item)}: ${labelOf(item)}`), table(facts(item))]
    : [element("p", "Point at anything for its details; click to keep them here.", { className: "soft" })]));
  repaint();
}

/** What is drawn at this place: the nearest event of a row, or the bar, the inner one first. */
function itemAt(x, y) {
  const inside = y - AXIS + view.top;
  if (x < HEAD || y < AXIS) return null;
  const lane = layout.lanes.find(({ top, height }) => inside >= top && inside < top + height);
  const row = lane?.rows.find((candidate) => inside >= candidate.y && inside < candidate.y + candidate.height);
  if (!row || row.type === "ruler") return null;
  const at = view.at(x), near = 7 * view.perPixel;
  if (row.type === "points") {
    let best = null;
    const [low, high] = layout.span(row, at - near, at + near);
    for (let n = low; n < high; n++) {
      const point = row.points[n];
      if (layout.hidden.has(layout.pointLayer[run.points.kind[point]])) continue;
      const distance = Math.abs(run.at[point] - at) + (run.pointPasses[point] ? 0 : near);
      if (!best || distance < best.distance) best = { type: "point", index: point, distance };
    }
    return best;
  }
  for (const part of [...row.parts].reverse()) {
    if (layout.hidden.has(layout.barLayer[part.kind])) continue;
    for (const bar of layout.bars(part, at - near / 4, at + near / 4)) return { type: "bar", index: bar, row };
  }
  return null;
}

function showTip(item, x, y) {
  const tip = $("tip");
  tip.hidden = !item;
  if (!item) return;
  tip.replaceChildren(element("b", labelOf(item)),
    ...facts(item).filter(([, text]) => text).slice(0, 4).map(([term, text]) => element("small", `${term}: ${text}`)));
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(x + 14, view.width - width - 8))}px`;
  tip.style.top = `${y + 18 + height > view.height ? Math.max(4, y - height - 10) : y + 18}px`;
}

function setFilter(text) {
  run.filter(text);
  $("filter").value = text;
  $("count").textContent = run.words.length ? `${run.matches.toLocaleString("en")} events, ${run.barMatches.toLocaleString("en")} bars` : "";
  repaint();
}

/** The next event, or the one before, that the filter and the legend let pass. */
function walk(direction) {
  const middle = run.pointAt((view.from + view.to) / 2);
  let point = focus.selected?.type === "point" ? focus.selected.index + direction : middle;
  const passes = (n) => run.pointPasses[n] && !layout.hidden.has(layout.pointLayer[run.points.kind[n]]);
  while (point >= 0 && point < run.pointCount && !passes(point)) point += direction;
  if (point >= 0 && point < run.pointCount) select({ type: "point", index: point }, true);
}

function fill() {
  const bar = focus.selected?.type === "bar" ? focus.selected.index : -1;
  if (bar < 0) return showMark(focus.mark);
  const margin = (run.barTo[bar] - run.barFrom[bar]) * 0.1;
  view.show(run.barFrom[bar] - margin, run.barTo[bar] + margin);
  repaint();
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  painter.colors();
  drawLegend();
  repaint();
}

function drawLegend() {
  const used = new Set([...new Set(run.points.kind)].map((kind) => layout.pointLayer[kind]));
  for (const kind of new Set(run.bars.kind)) used.add(layout.barLayer[kind]);
  $("legend").replaceChildren(...LAYERS.flatMap((layer, index) => {
    if (!used.has(index)) return [];
    const chip = element("button", "", { className: "chip", title: layer.of.join(", "), onclick: () => {
      if (!layout.hidden.delete(index)) layout.hidden.add(index);
      chip.setAttribute("aria-pressed", String(!layout.hidden.has(index)));
      repaint();
    } });
    chip.setAttribute("aria-pressed", String(!layout.hidden.has(index)));
    const canvas = element("canvas");
    chip.append(canvas, layer.name);
    requestAnimationFrame(() => {
      painter.context2d = painter.context(canvas).context;
      if (layer.glyph) return painter.glyph({ answered: "up", applied: "diamond", idle: "dot" }[layer.glyph] ?? layer.glyph, 8, 6, layer.color);
      painter.context2d.fillStyle = painter.color[layer.color];
      painter.context2d.fillRect(1, 2, 14, 8);
    });
    return [chip];
  }));
}

const wide = () => view.plot;
const KEYS = {
  ArrowLeft: (shift) => view.pan(-(shift ? wide() : wide() / 10)),
  ArrowRight: (shift) => view.pan(shift ? wide() : wide() / 10),
  ArrowUp: () => view.scroll(-48),
  ArrowDown: () => view.scroll(48),
  "+": () => view.zoom(0.7, focus.pointer ?? undefined),
  "=": () => view.zoom(0.7, focus.pointer ?? undefined),
  "-": () => view.zoom(1 / 0.7, focus.pointer ?? undefined),
  0: () => view.show(0, run.end),
  n: () => run.marks.length && showMark((focus.mark + 1) % run.marks.length),
  p: () => run.marks.length && showMark((focus.mark + run.marks.length - 1) % run.marks.length),
  ".": () => walk(1),
  ",": () => walk(-1),
  f: fill,
  t: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  "/": () => $("filter").select(),
  "?": () => $("keys").showModal(),
  Escape: () => { setFilter(""); select(null); },
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || $("keys").open) return;
  if (event.target === $("filter")) {
    if (event.key === "Enter") walk(event.shiftKey ? -1 : 1);
    if (event.key === "Escape") { setFilter(""); $("lanes").focus(); }
    return;
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act(event.shiftKey);
  repaint();
});

$("filter").addEventListener("input", () => setFilter($("filter").value));
for (const [id, key] of [["previous", "p"], ["next", "n"], ["all", "0"], ["theme", "t"], ["help", "?"]]) {
  $(id).addEventListener("click", () => { KEYS[key](); repaint(); });
}

let drag = null;
const canvas = $("lanes");
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  drag = { x: event.offsetX, y: event.offsetY, moved: false };
});
canvas.addEventListener("pointermove", (event) => {
  const { offsetX: x, offsetY: y } = event;
  focus.pointer = x >= HEAD ? view.at(x) : null;
  if (drag) {
    drag.moved ||= Math.hypot(x - drag.x, y - drag.y) > 4;
    if (drag.moved) {
      canvas.classList.add("dragging");
      focus.dragging = true;
      view.pan(drag.x - x);
      view.scroll(drag.y - y);
      Object.assign(drag, { x, y });
    }
  }
  focus.hovered = drag?.moved ? null : itemAt(x, y);
  showTip(focus.hovered, x, y);
  repaint();
});
canvas.addEventListener("pointerup", (event) => {
  if (drag && !drag.moved) select(itemAt(event.offsetX, event.offsetY));
  drag = null;
  focus.dragging = false;
  canvas.classList.remove("dragging");
  repaint();
});
canvas.addEventListener("pointerleave", () => {
  focus.pointer = focus.hovered = null;
  showTip(null);
  repaint();
});
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const sideways = event.shiftKey ? event.deltaX || event.deltaY : event.deltaX;
  if (Math.abs(sideways) > Math.abs(event.deltaY) || event.shiftKey) view.pan(sideways);
  else view.zoom(Math.exp(event.deltaY * 0.0015), view.at(Math.max(HEAD, event.offsetX)));
  repaint();
}, { passive: false });
canvas.addEventListener("dblclick", (event) => { view.zoom(0.3, view.at(event.offsetX)); repaint(); });

const strip = $("overview");
function goTo(event) {
  if (!event.buttons) return;
  const at = ((event.offsetX - HEAD) / (strip.clientWidth - HEAD - MARGIN)) * run.end;
  view.pan((at - (view.from + view.to) / 2) / view.perPixel);
  repaint();
}
strip.addEventListener("pointerdown", (event) => { strip.setPointerCapture(event.pointerId); goTo(event); });
strip.addEventListener("pointermove", goTo);

new ResizeObserver(repaint).observe($("lanes"));
select(null);
view.width = $("lanes").clientWidth;
view.height = $("lanes").clientHeight;
setTheme(matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
showMark(focus.mark);
setFilter("");
painter.paint($("lanes"), focus);
painter.overview($("overview"));

/** For tests and for consoles: what the page shows, as data. */
globalThis.timeline = {
  run, layout, view, focus,
  state: () => ({
    from: view.from, to: view.to, top: view.top, mark: focus.mark, filter: run.words.join(" "), matches: run.matches,
    selected: focus.selected && labelOf(focus.selected), hovered: focus.hovered && labelOf(focus.hovered),
    theme: document.documentElement.dataset.theme, drawn: painter.marksDrawn, messages: painter.hasMessages,
    events: run.pointCount, bars: run.barCount, violations: run.marks.length,
  }),
  /** Where an event is drawn, in pixels of the lanes' canvas. */
  spot: (point) => { const [x, y] = painter.spot(point); return [x, y + AXIS - view.top]; },
  /** How long one full paint takes, in milliseconds. */
  paintTime: () => { const start = performance.now(); painter.paint($("lanes"), focus); return performance.now() - start; },
  loadTime: performance.now() - began,
};
