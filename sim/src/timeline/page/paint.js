// The canvases. Reads run, layout and view; changes nothing but pixels. Never more than a few marks a pixel.

class Painter {
  constructor(run, layout, view) {
    Object.assign(this, { run, layout, view });
    this.colors();
    // Kind by kind: its colour and its shape.
    const look = {
      "request sent": ["call", "up"], "applied": ["applied", "diamond"], "applied, nothing changed": ["idle", "dot"],
      "applied, refused": ["bad", "cross"], "answered": ["call", "down"], "failed at its sender": ["bad", "cross"],
      "handler or tick": ["attempt", "bar"], "effect sent": ["effect", "triangle"], "effect received": ["effect", "disc"],
      "effect refused": ["effect", "ring"], "process or phase": ["ink", "flag"], "clock set": ["ahead", "bar"],
      "fault": ["fault", "bolt"], "panic": ["violation", "cross"], "other": ["other", "bar"],
    };
    this.pointLook = run.pointKinds.map((name) => look[name]);
    this.barColor = run.barNames.map((name) => LAYERS.find((layer) => layer.of.includes(name)).color);
    this.barColor[run.barNames.indexOf("process down")] = "down";
    this.barColor[run.barNames.indexOf("paused")] = "down";
    this.isRider = run.barNames.map((name) => name === "attempt runs" || name === "believes to lead");
  }

  /** From the style sheet, so that there is one palette; again when the theme changes. */
  colors() {
    const style = getComputedStyle(document.documentElement);
    this.color = new Proxy({}, { get: (known, name) => (known[name] ??= style.getPropertyValue("--" + name).trim()) });
    this.font = getComputedStyle(document.body).fontFamily;
  }

  /** A context in CSS pixels, crisp on any screen. */
  context(canvas) {
    const { width, height } = canvas.getBoundingClientRect();
    const ratio = devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return { context, width, height };
  }

  paint(canvas, focus) {
    const { context, width, height } = this.context(canvas);
    const { view } = this;
    this.context2d = context;
    this.focus = focus;
    this.marksDrawn = 0;
    Object.assign(view, { width, height });
    if (!focus.dragging) view.fold();
    view.scroll(0);
    const right = width - MARGIN + 4;
    context.save();
    context.beginPath();
    context.rect(0, AXIS, width, height - AXIS);
    context.clip();
    context.translate(0, AXIS - view.top);
    const seen = this.layout.lanes.filter((lane) => lane.top + lane.height >= view.top && lane.top <= view.top + height);
    for (const lane of seen) this.ground(lane, width);
    context.save();
    context.beginPath();
    context.rect(HEAD, view.top, right - HEAD, height);
    context.clip();
    this.grid(view.top, height);
    for (const lane of seen) this.bands(lane);
    this.messages();
    for (const lane of seen) for (const row of lane.rows) this.row(row);
    this.proof();
    this.selected();
    context.restore();
    for (const lane of seen) this.head(lane);
    context.restore();
    this.axis(width);
  }

  text(text, x, y, color, size = 11, weight = 400) {
    const { context2d: context } = this;
    context.font = `${weight} ${size}px ${this.font}`;
    context.fillStyle = this.color[color];
    context.fillText(text, x, y);
  }

  ground(lane, width) {
    const { context2d: context } = this;
    context.fillStyle = this.color[lane.index % 2 ? "paper" : "lane"];
    context.fillRect(0, lane.top, width, lane.height);
    context.fillStyle = this.color.line;
    context.fillRect(0, lane.top + lane.height - 1, width, 1);
  }

  ticks(apart) {
    const { view } = this;
    const every = step(apart * view.perPixel);
    const ticks = [];
    for (let at = Math.ceil(view.from / every) * every; at <= view.to; at += every) ticks.push(at);
    return { every, ticks };
  }

  grid(top, height) {
    const { context2d: context, view } = this;
    context.fillStyle = this.color.line;
    for (const at of this.ticks(110).ticks) context.fillRect(Math.round(view.x(at)), top, 1, height);
  }

  axis(width) {
    const { context2d: context, view } = this;
    context.fillStyle = this.color.paper;
    context.fillRect(0, 0, width, AXIS);
    context.fillStyle = this.color.edge;
    context.fillRect(0, AXIS - 1, width, 1);
    const { every, ticks } = this.ticks(110);
    for (const at of ticks) {
      context.fillStyle = this.color.edge;
      context.fillRect(Math.round(view.x(at)), AXIS - 7, 1, 6);
      if (view.x(at) >= HEAD && view.x(at) < width - 30) this.text(elapsed(at, every), view.x(at) + 4, 18, "soft");
    }
    context.fillStyle = this.color.paper;
    context.fillRect(0, 0, HEAD, AXIS - 1);
    this.text("true time, h:mm:ss", 12, 18, "soft");
    for (const [number, mark] of this.run.marks.entries()) {
      const x = view.x(this.run.at[mark.events.at(-1)]);
      if (!(x >= HEAD && x <= width)) continue;
      context.fillStyle = this.color.violation;
      context.beginPath();
      context.moveTo(x - 5, AXIS - 9); context.lineTo(x + 5, AXIS - 9); context.lineTo(x, AXIS - 1);
      context.fill();
      if (number === this.focus.mark) this.text(mark.guarantee, x + 8, AXIS - 4, "violation", 11, 700);
    }
    if (this.focus.pointer !== null) {
      const x = view.x(this.focus.pointer);
      const label = elapsed(this.focus.pointer, step(view.perPixel));
      context.font = `600 11px ${this.font}`;
      const wide = context.measureText(label).width + 10;
      context.fillStyle = this.color.ink;
      context.fillRect(Math.min(x - wide / 2, width - wide), 2, wide, 15);
      this.text(label, Math.min(x - wide / 2, width - wide) + 5, 13, "paper", 11, 600);
    }
  }

  /** What a host is called, and what its own clock says now. */
  head(lane) {
    const { context2d: context, view } = this;
    context.fillStyle = this.color[lane.index % 2 ? "paper" : "lane"];
    context.fillRect(0, lane.top, HEAD, lane.height - 1);
    context.fillStyle = this.color.edge;
    context.fillRect(HEAD - 1, lane.top, 1, lane.height);
    // The name stays in view as long as any of its lane does.
    const top = Math.min(Math.max(lane.top, view.top), lane.top + lane.height - (lane.height > 40 ? 42 : 26));
    this.text(lane.name, 12, top + 18, "ink", 13, 650);
    if (lane.sort !== "replica" && lane.sort !== "database") return;
    const at = this.focus.pointer ?? (view.from + view.to) / 2;
    const { skew, still } = this.run.clock(lane.index, at);
    this.text(timeOfDay(this.run.epoch, at + skew), 12, top + 34, "soft");
    const note = (still ? "stands still " : "") + skewText(skew);
    this.text(note, 96, top + 34, skew > 0 ? "ahead" : "behind", 11, 650);
  }

  hatch(x0, x1, y, height, color) {
    const { context2d: context } = this;
    context.save();
    context.beginPath();
    context.rect(x0, y, x1 - x0, height);
    context.clip();
    context.strokeStyle = this.color[color];
    context.globalAlpha = 0.35;
    context.beginPath();
    const start = Math.floor((x0 - height) / 7) * 7;
    for (let x = start; x < x1; x += 7) { context.moveTo(x, y + height); context.lineTo(x + height, y); }
    context.stroke();
    context.restore();
  }

  /** Faults, pauses and dead processes lie behind everything else of their lane; those of the world behind all lanes. */
  bands(lane) {
    const { context2d: context, view, run, layout } = this;
    if (layout.hidden.has(this.layout.barLayer[run.barNames.indexOf("fault")])) return;
    const whole = lane.sort === "world";
    for (const part of lane.bands) {
      const isFault = run.barNames[part.kind] === "fault";
      for (const bar of layout.bars(part, view.from, view.to)) {
        const x0 = Math.max(HEAD, view.x(run.barFrom[bar])), x1 = Math.min(view.width, view.x(run.barTo[bar]));
        if (x1 - x0 < 0.5) continue;
        const [y, height] = whole ? [0, layout.height] : [lane.top, lane.height - 1];
        context.fillStyle = this.color[isFault ? "fault" : "down"];
        context.globalAlpha = isFault ? 0.1 : 0.16;
        context.fillRect(x0, y, x1 - x0, height);
        context.globalAlpha = 1;
        if (!isFault) this.hatch(x0, x1, y, height, "down");
        if (!isFault && x1 - x0 > 70) this.text(run.barLabel(bar), x0 + 6, y + height - 8, "soft");
      }
    }
  }

  row(row) {
    if (row.type === "ruler") this.ruler(row);
    else if (row.type === "track") for (const part of row.parts) this.track(row, part);
    else this.points(row);
  }

  /** The host's own time of day, where its own clock says so: ticks off the grid are skew. */
  ruler(row) {
    const { context2d: context, view, run } = this;
    const { every } = this.ticks(110);
    const { clock } = row.lane;
    const y = row.y + row.height - 3;
    for (let n = 0; n < clock.length; n++) {
      const [from, skew, ppm, still] = clock[n];
      const until = Math.min(clock[n + 1]?.[0] ?? Infinity, view.to);
      const begin = Math.max(from, view.from);
      if (begin > until) continue;
      const rate = 1 + ppm / 1e6;
      const own = (at) => at + skew + (at - from) * (ppm / 1e6);
      const color = Math.abs(own(begin) - begin) < 500 && !ppm ? "faint" : own(begin) > begin ? "ahead" : "behind";
      context.fillStyle = this.color[color];
      context.globalAlpha = still ? 0.3 : 0.8;
      context.fillRect(view.x(begin), y, view.x(until) - view.x(begin), 1);
      context.globalAlpha = 1;
      // Ticks at round times of day, as the grid has them when the clock is right.
      for (let mine = Math.ceil(own(begin) / every) * every; mine <= own(until); mine += every) {
        const x = view.x(from + (mine - skew - from) / rate);
        context.fillStyle = this.color[color];
        context.fillRect(Math.round(x), y - 5, 1, 6);
        this.text(timeOfDay(run.epoch, mine, every), x + 4, y - 2, color, 10);
      }
    }
  }

  track(row, part) {
    const { context2d: context, view, run, layout } = this;
    if (layout.hidden.has(layout.barLayer[part.kind])) return;
    const color = this.barColor[part.kind];
    const rider = this.isRider[part.kind];
    const fault = run.barNames[part.kind] === "fault";
    if (!row.height) return;
    // Whoever holds has the whole height; what is done under it runs along its lower edge.
    const inset = Math.min(1.5, row.height * 0.15);
    const height = (row.height - 2 * inset) * (rider ? 0.32 : 1);
    const y = row.y + row.height - inset - height;
    let last = -1;
    for (const bar of layout.bars(part, view.from, view.to)) {
      const x0 = Math.max(HEAD - 4, view.x(run.barFrom[bar])), x1 = Math.min(view.width, view.x(run.barTo[bar]));
      const wide = Math.max(1, x1 - x0 - (x1 - x0 > 6 ? 1 : 0));
      if (wide === 1 && Math.floor(x0) === last) continue;
      last = Math.floor(x0);
      context.globalAlpha = run.barPasses[bar] ? (fault ? 0.55 : 1) : 0.12;
      context.fillStyle = this.color[color];
      if (wide > 4 && height > 6) { context.beginPath(); context.roundRect(x0, y, wide, height, 2.5); context.fill(); }
      else context.fillRect(x0, y, wide, height);
      this.marksDrawn++;
      if (height > 8 && wide > 34) this.caption(run.barLabel(bar), x0, wide, row);
    }
    context.globalAlpha = 1;
  }

  /** A bar's label inside it; above the strip for what is done under it, if there is one. */
  caption(label, x0, wide, row) {
    const { context2d: context } = this;
    context.save();
    context.beginPath();
    context.rect(x0, row.y, wide - 3, row.height);
    context.clip();
    if (context.globalAlpha > 0.5) context.globalAlpha = 1;
    this.text(label, Math.max(x0, HEAD) + 5, row.y + Math.min(11, row.height / 2 + 3.5), "ink", 10);
    context.restore();
  }

  points(row) {
    const { view, run, layout } = this;
    const [low, high] = layout.span(row, view.from - 8 * view.perPixel, view.to + 8 * view.perPixel);
    const crowded = high - low > view.plot / 5;
    const last = new Int32Array(run.pointKinds.length).fill(-1);
    const middle = row.y + row.height / 2;
    // Those that the filter keeps come last, above the others.
    for (const passes of run.words.length ? [0, 1] : [1]) {
      last.fill(-1);
      for (let n = low; n < high; n++) {
        const point = row.points[n];
        const kind = run.points.kind[point];
        if (run.pointPasses[point] !== passes || layout.hidden.has(layout.pointLayer[kind])) continue;
        const x = view.x(run.at[point]);
        if (Math.floor(x) === last[kind]) continue;
        last[kind] = Math.floor(x);
        this.context2d.globalAlpha = passes ? 1 : 0.12;
        this.marksDrawn++;
        const [color, shape] = this.pointLook[kind];
        this.glyph(crowded && shape !== "flag" && shape !== "bolt" ? "thin" : shape, x, middle, color);
      }
    }
    this.context2d.globalAlpha = 1;
  }

  glyph(shape, x, y, color) {
    const { context2d: context } = this;
    const line = (...path) => {
      context.beginPath();
      path.forEach(([dx, dy], n) => (n ? context.lineTo(x + dx, y + dy) : context.moveTo(x + dx, y + dy)));
    };
    context.fillStyle = context.strokeStyle = this.color[color];
    context.lineWidth = 1.5;
    switch (shape) {
      case "thin": context.fillRect(x - 0.5, y - 4.5, 1, 9); break;
      case "bar": context.fillRect(x - 0.75, y - 5, 1.5, 10); break;
      case "dot": context.beginPath(); context.arc(x, y, 1.8, 0, 7); context.fill(); break;
      case "disc": context.beginPath(); context.arc(x, y, 4, 0, 7); context.fill(); break;
      case "ring": context.beginPath(); context.arc(x, y, 3.5, 0, 7); context.stroke(); break;
      case "diamond": line([0, -5], [4.5, 0], [0, 5], [-4.5, 0]); context.fill(); break;
      case "up": line([0, -4], [3.2, 3], [-3.2, 3]); context.fill(); break;
      case "down": line([0, 4], [3.2, -3], [-3.2, -3]); context.fill(); break;
      case "triangle": line([-3.5, -4.5], [4.5, 0], [-3.5, 4.5]); context.fill(); break;
      case "flag": line([0, 6], [0, -6], [6, -3], [0, 0]); context.fill(); context.stroke(); break;
      case "bolt": line([2, -6], [-3.5, 1], [3, -1], [-2, 6]); context.lineWidth = 2; context.stroke(); break;
      case "cross":
        line([-3.5, -3.5], [3.5, 3.5]); context.lineWidth = 2; context.stroke();
        line([-3.5, 3.5], [3.5, -3.5]); context.stroke();
        break;
    }
    context.lineWidth = 1;
  }

  /** Where a point is drawn. */
  spot(point) {
    const row = this.layout.pointRow[point];
    return [this.view.x(this.run.at[point]), row.y + row.height / 2];
  }

  /** Messages from lane to lane, once they are far enough apart to be told from each other. */
  messages() {
    const { context2d: context, view, run, layout } = this;
    const low = run.pointAt(view.from), high = run.pointAt(view.to);
    this.hasMessages = high - low < 900;
    if (!this.hasMessages) return;
    for (let point = low; point < high; point++) {
      const from = run.links[point];
      const [, shape] = this.pointLook[run.points.kind[point]];
      if (from < 0 || layout.hidden.has(layout.pointLayer[run.points.kind[point]]) || shape === "down" &&
        layout.hidden.has(layout.pointLayer[run.points.kind[from]])) continue;
      const effect = this.pointLook[run.points.kind[point]][0] === "effect";
      context.strokeStyle = this.color[effect ? "effect" : "call"];
      const idle = [point, from].some((end) => run.pointKinds[run.points.kind[end]] === "applied, nothing changed");
      context.globalAlpha = !run.pointPasses[point] ? 0.06 : idle ? 0.35 : 0.9;
      const [x0, y0] = this.spot(from), [x1, y1] = this.spot(point);
      context.beginPath();
      context.moveTo(x0, y0);
      context.lineTo(x1, y1);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /** The violation in focus: its instant, the events that prove it, numbered, and a line through them. */
  proof() {
    const { context2d: context, view, run } = this;
    const mark = run.marks[this.focus.mark];
    if (!mark?.events.length) return;
    const spots = mark.events.map((event) => this.spot(event));
    context.strokeStyle = context.fillStyle = this.color.violation;
    context.globalAlpha = 0.5;
    context.fillRect(Math.round(spots.at(-1)[0]) - 0.5, view.top, 1, view.height);
    context.globalAlpha = 1;
    context.setLineDash([5, 4]);
    context.lineWidth = 1.75;
    for (let n = 1; n < spots.length; n++) {
      const [x0, y0] = spots[n - 1], [x1, y1] = spots[n];
      const bend = Math.min(40, Math.abs(x1 - x0) / 3);
      context.beginPath();
      context.moveTo(x0, y0);
      context.bezierCurveTo(x0 + bend, y0, x1 - bend, y1, x1, y1);
      context.stroke();
    }
    context.setLineDash([]);
    spots.forEach(([x, y], n) => {
      context.beginPath();
      context.arc(x, y, 8, 0, 7);
      context.stroke();
      if (n > 0 && Math.hypot(x - spots[n - 1][0], y - spots[n - 1][1]) < 14) return;
      context.fillStyle = this.color.violation;
      context.beginPath();
      context.arc(x + 9, y - 9, 7, 0, 7);
      context.fill();
      context.textAlign = "center";
      this.text(String(n + 1), x + 9, y - 5.5, "paper", 10, 700);
      context.textAlign = "start";
    });
    context.lineWidth = 1;
  }

  selected() {
    const { context2d: context, view, run } = this;
    context.strokeStyle = this.color.ink;
    context.lineWidth = 1.5;
    for (const item of [this.focus.selected, this.focus.hovered]) {
      if (!item) continue;
      if (item.type === "point") {
        const [x, y] = this.spot(item.index);
        context.strokeRect(x - 7.5, y - 7.5, 15, 15);
      } else {
        const x0 = view.x(run.barFrom[item.index]), x1 = view.x(run.barTo[item.index]);
        context.strokeRect(x0 - 1, item.row.y, Math.max(3, x1 - x0 + 1), item.row.height);
      }
    }
    if (this.focus.pointer !== null) {
      context.fillStyle = this.color.faint;
      context.fillRect(Math.round(view.x(this.focus.pointer)), view.top, 1, view.height);
    }
    context.lineWidth = 1;
  }

  /** The whole run in one strip: how much happened when, faults, violations, and what is in view. */
  overview(canvas) {
    const { context, width, height } = this.context(canvas);
    const { run, view } = this;
    const plot = width - HEAD - MARGIN;
    const x = (at) => HEAD + (at / run.end) * plot;
    if (this.density?.length !== Math.ceil(plot / 2)) {
      this.density = new Float32Array(Math.ceil(plot / 2));
      for (const at of run.at) this.density[Math.min(this.density.length - 1, Math.floor((at / run.end) * this.density.length))]++;
      this.densest = Math.log1p(this.density.reduce((most, count) => Math.max(most, count), 1));
    }
    context.fillStyle = this.color.fault;
    context.globalAlpha = 0.22;
    for (let bar = 0; bar < run.barCount; bar++) {
      if (run.groupOf[run.bars.kind[bar]] > 1) continue;
      context.fillRect(x(run.barFrom[bar]), 0, Math.max(1, x(run.barTo[bar]) - x(run.barFrom[bar])), height);
    }
    context.globalAlpha = 1;
    context.fillStyle = this.color.applied;
    this.density.forEach((count, n) => {
      const tall = (Math.log1p(count) / this.densest) * (height - 12);
      context.fillRect(HEAD + 2 * n, height - tall, 1.5, tall);
    });
    context.fillStyle = this.color.violation;
    for (const mark of run.marks) if (mark.events.length) context.fillRect(x(run.at[mark.events.at(-1)]) - 1, 0, 2, height);
    const x0 = Math.max(HEAD, x(view.from)), x1 = Math.min(HEAD + plot, x(view.to));
    context.fillStyle = this.color.paper;
    context.globalAlpha = 0.6;
    context.fillRect(HEAD, 0, x0 - HEAD, height);
    context.fillRect(x1, 0, HEAD + plot - x1, height);
    context.globalAlpha = 1;
    context.strokeStyle = this.color.ink;
    context.strokeRect(x0 - 0.5, 0.5, Math.max(3, x1 - x0), height - 1);
    context.fillStyle = this.color.soft;
    context.font = `11px ${this.font}`;
    context.fillText(`${elapsed(run.end, SECOND)} in all`, 12, 20);
    context.fillText(`${run.pointCount.toLocaleString("en")} events`, 12, 36);
  }
}
