"use strict";
// The run as arrays: unpacks what the page brings along, and answers by binary search. Draws nothing.

/** First index in [low, high) for which `is` holds; `is` must go from false to true once. */
function firstWhere(low, high, is) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(middle)) high = middle; else low = middle + 1;
  }
  return low;
}

class Run {
  constructor(packed) {
    Object.assign(this, packed);
    const { points, bars } = packed;
    let now = 0;
    this.at = Float64Array.from(points.at, (passed) => (now += passed));
    this.pointCount = this.at.length;
    this.barFrom = Float64Array.from(bars.from);
    this.barTo = Float64Array.from(bars.to, (lasts, bar) => bars.from[bar] + lasts);
    this.barCount = this.barFrom.length;
    this.end = Math.max(this.end, 1);
    this.groupOf = this.barKinds.map(([, group]) => group);
    this.barNames = this.barKinds.map(([name]) => name);
    this.byRequest = this.index(points.request);
    this.links = this.findLinks();
    this.filter("");
  }

  /** For each number, the points that have it, in order: rows of one array. */
  index(numbers) {
    const count = numbers.reduce((most, number) => Math.max(most, number), -1) + 1;
    const from = new Uint32Array(count + 2);
    for (const number of numbers) if (number >= 0) from[number + 2]++;
    for (let row = 2; row < from.length; row++) from[row] += from[row - 1];
    const items = new Uint32Array(from[count + 1]);
    numbers.forEach((number, point) => { if (number >= 0) items[from[number + 1]++] = point; });
    return { from, items };
  }

  /** The points of a point's request. */
  ofRequest(point) {
    const request = this.points.request[point];
    if (request < 0) return [];
    return this.byRequest.items.subarray(this.byRequest.from[request], this.byRequest.from[request + 1]);
  }

  /** Where each point's message came from: sent → applied → answered, effect sent → received; -1: from nowhere. */
  findLinks() {
    const links = new Int32Array(this.pointCount).fill(-1);
    const kinds = Object.fromEntries(this.pointKinds.map((name, kind) => [name, kind]));
    const sent = new Map(), applied = new Map(), effects = new Map();
    const { kind, request, about } = this.points;
    for (let point = 0; point < this.pointCount; point++) {
      switch (kind[point]) {
        case kinds["request sent"]: sent.set(request[point], point); break;
        case kinds["applied"]: case kinds["applied, nothing changed"]: case kinds["applied, refused"]:
          links[point] = sent.get(request[point]) ?? -1;
          applied.set(request[point], point);
          break;
        case kinds["answered"]: links[point] = applied.get(request[point]) ?? -1; break;
        case kinds["effect sent"]: effects.set(about[point], point); break;
        case kinds["effect received"]: case kinds["effect refused"]: links[point] = effects.get(about[point]) ?? -1; break;
      }
    }
    return links;
  }

  /** Keeps what has every word in its label, its subject or its lane's name. Ids may be whole: eight digits count. */
  filter(text) {
    this.words = text.toLowerCase().split(/\s+/).filter(Boolean)
      .map((word) => (/^[0-9a-f]{8}-[0-9a-f]{4}-/.test(word) ? word.slice(0, 8) : word));
    const has = (texts) => texts.map((entry) => {
      const low = entry.toLowerCase();
      return this.words.reduce((bits, word, n) => (low.includes(word) ? bits | (1 << n) : bits), 0);
    });
    const labels = has(this.texts), subjects = has(this.subjects), lanes = has(this.lanes.map((lane) => lane.name));
    const sets = this.sets.map((set) => set.reduce((bits, subject) => bits | subjects[subject], 0));
    const all = (1 << this.words.length) - 1;
    const pass = (columns) => Uint8Array.from(columns.label, (label, n) =>
      (labels[label] | sets[columns.about[n]] | lanes[columns.lane[n]]) === all ? 1 : 0);
    this.pointPasses = pass(this.points);
    this.barPasses = pass(this.bars);
    this.matches = this.pointPasses.reduce((sum, passes) => sum + passes, 0);
    this.barMatches = this.barPasses.reduce((sum, passes) => sum + passes, 0);
  }

  /** First point at or after this true time. */
  pointAt(at) {
    return firstWhere(0, this.pointCount, (point) => this.at[point] >= at);
  }

  /** How far a host's wall clock is ahead, in microseconds, and whether its monotonic clock stands still. */
  clock(lane, at) {
    const { clock } = this.lanes[lane];
    const [from, skew, ppm, still] = clock[Math.max(0, firstWhere(0, clock.length, (n) => clock[n][0] > at) - 1)];
    return { skew: skew + ((at - from) * ppm) / 1e6, still: still === 1 };
  }

  pointLabel(point) { return this.texts[this.points.label[point]]; }
  barLabel(bar) { return this.texts[this.bars.label[bar]]; }
  barNote(bar) { return this.texts[this.bars.note[bar]]; }
  about(set) { return this.sets[set].map((subject) => this.subjects[subject]); }
}
