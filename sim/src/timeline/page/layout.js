// Where things are: lanes and their rows from top to bottom, and the part of time that is in view.

const HEAD = 178, AXIS = 30, MARGIN = 14;
const ROW = { ruler: 17, points: 17, gap: 3 };
// By group of bars: the height of a track, and of all tracks together, beyond which each gets thinner.
const TRACK = [0, 15, 18, 18, 13, 13, 4];
const TALLEST = [0, 45, 72, 126, 65, 65, 16];

/** Which layer of the legend an event or a bar belongs to, by its kind's name. */
const LAYERS = [
  { name: "leases", color: "lease", of: ["lease held"] },
  { name: "attempts", color: "attempt", of: ["attempt runs", "handler or tick"] },
  { name: "locks", color: "lock", of: ["lock held"] },
  { name: "leaders", color: "leader", of: ["believes to lead"] },
  { name: "ticks", color: "tick", of: ["tick runs"] },
  { name: "units", color: "unit", of: ["unit of work"] },
  { name: "requests", color: "call", glyph: "answered", of: ["request under way", "request sent", "answered"] },
  { name: "applied", color: "applied", glyph: "applied", of: ["applied"] },
  { name: "nothing changed", color: "idle", glyph: "idle", of: ["applied, nothing changed"] },
  { name: "refused or failed", color: "bad", glyph: "cross", of: ["applied, refused", "failed at its sender", "panic"] },
  { name: "effects", color: "effect", glyph: "disc", of: ["effect sent", "effect received", "effect refused"] },
  { name: "faults", color: "fault", of: ["fault", "process down", "paused"] },
  { name: "clocks", color: "ahead", glyph: "bar", of: ["clock set"] },
  { name: "rest", color: "other", glyph: "bar", of: ["process or phase", "other"] },
];

class Layout {
  constructor(run) {
    this.run = run;
    const layerOf = (name) => LAYERS.findIndex((layer) => layer.of.includes(name));
    this.pointLayer = run.pointKinds.map((name) => (name === "fault" ? layerOf("fault") : layerOf(name)));
    this.barLayer = run.barNames.map(layerOf);
    this.hidden = new Set();
    // What a replica does itself is above what it says to others.
    const isTalk = run.pointKinds.map((name) => ["request sent", "answered", "failed at its sender"].includes(name));
    this.lanes = run.lanes.map((lane, index) => ({ ...lane, index, rows: [], bands: [] }));
    this.pointRow = new Array(run.pointCount);
    const strips = this.lanes.map(() => [[], []]);
    for (let point = 0; point < run.pointCount; point++) {
      strips[run.points.lane[point]][isTalk[run.points.kind[point]] ? 1 : 0].push(point);
    }
    this.rowOfTrack = new Map();
    for (const lane of this.lanes) {
      if (lane.sort === "replica" || lane.sort === "database") lane.rows.push({ type: "ruler", lane, height: ROW.ruler });
    }
    this.addTracks();
    for (const lane of this.lanes) {
      for (const points of strips[lane.index]) {
        if (!points.length) continue;
        const row = { type: "points", lane, height: ROW.points, points: Uint32Array.from(points) };
        lane.rows.push(row);
        for (const point of points) this.pointRow[point] = row;
      }
    }
    this.fold(0, run.end);
    this.place();
  }

  /** Bars are ordered by lane, group, track and kind: each run of them is a row, or part of one. */
  addTracks() {
    const { run } = this;
    const { lane, kind, track } = run.bars;
    const same = (a, b) => lane[a] === lane[b] && run.groupOf[kind[a]] === run.groupOf[kind[b]] && track[a] === track[b];
    for (let from = 0, to; from < run.barCount; from = to) {
      for (to = from + 1; to < run.barCount && same(from, to);) to++;
      const group = run.groupOf[kind[from]];
      const home = this.lanes[lane[from]];
      const parts = [];
      for (let a = from, b; a < to; a = b) {
        for (b = a + 1; b < to && kind[b] === kind[a];) b++;
        parts.push({ kind: kind[a], from: a, to: b });
      }
      if (group <= 1) home.bands.push(...parts);
      if (group > 0) home.rows.push({ type: "track", lane: home, group, parts, height: 0 });
    }
  }

  /** Tracks without a bar in [from, to] take no room; says whether that moved anything. */
  fold(from, to) {
    let moved = false;
    for (const home of this.lanes) {
      for (let group = 1; group < TRACK.length; group++) {
        const rows = home.rows.filter((row) => row.group === group);
        const used = rows.filter((row) => row.parts.some((part) => !this.bars(part, from, to).next().done));
        const height = Math.max(2, Math.min(TRACK[group], TALLEST[group] / used.length));
        for (const row of rows) {
          const wanted = used.includes(row) ? height : 0;
          moved ||= row.height !== wanted;
          row.height = wanted;
        }
      }
    }
    if (moved) this.place();
    return moved;
  }

  place() {
    let y = 0;
    for (const lane of this.lanes) {
      lane.top = y;
      y += ROW.gap;
      for (const row of lane.rows) { row.y = y; y += row.height; }
      y = Math.max(y + ROW.gap, lane.top + (lane.sort === "replica" || lane.sort === "database" ? 46 : 27));
      lane.height = y - lane.top;
    }
    this.height = y + 8;
  }

  /** Bars of a row's part that touch [from, to]: they do not overlap, so both ends are ascending. */
  *bars(part, from, to) {
    const first = firstWhere(part.from, part.to, (bar) => this.run.barTo[bar] >= from);
    for (let bar = first; bar < part.to && this.run.barFrom[bar] <= to; bar++) yield bar;
  }

  /** Positions in a row's points that are in [from, to]. */
  span(row, from, to) {
    const { at } = this.run;
    const low = firstWhere(0, row.points.length, (n) => at[row.points[n]] >= from);
    return [low, firstWhere(low, row.points.length, (n) => at[row.points[n]] > to)];
  }
}

/** The part of time in view, and how far the lanes are scrolled. */
class View {
  constructor(run, layout) {
    Object.assign(this, { run, layout, width: 800, height: 400, top: 0, from: 0, to: run.end });
  }
  get plot() { return Math.max(50, this.width - HEAD - MARGIN); }
  get perPixel() { return (this.to - this.from) / this.plot; }
  x(at) { return HEAD + (at - this.from) / this.perPixel; }
  at(x) { return this.from + (x - HEAD) * this.perPixel; }

  show(from, to) {
    const slack = this.run.end * 0.02;
    const span = Math.min(Math.max(to - from, 40), this.run.end + 2 * slack);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - span / 2, -slack), this.run.end + slack - span);
    this.to = this.from + span;
  }
  zoom(factor, around = (this.from + this.to) / 2) {
    this.show(around - (around - this.from) * factor, around + (this.to - around) * factor);
  }
  pan(pixels) { this.show(this.from + pixels * this.perPixel, this.to + pixels * this.perPixel); }
  scroll(pixels) {
    this.top = Math.max(0, Math.min(this.top + pixels, this.layout.height - (this.height - AXIS)));
  }
  /** Gives room to what is in view and near it. The lane in the middle stays where it is. */
  fold() {
    const middle = this.top + (this.height - AXIS) / 2;
    const lane = this.layout.lanes.findLast(({ top }) => top <= middle) ?? this.layout.lanes[0];
    const before = lane?.top;
    const near = (this.to - this.from) / 2;
    if (this.layout.fold(this.from - near, this.to + near)) this.scroll(lane.top - before);
  }
  /** Scrolls so that a row is in view. */
  reveal(row) {
    const room = this.height - AXIS;
    if (row.y < this.top || row.y + row.height > this.top + room) this.scroll(row.y - room / 2 - this.top);
  }
}
