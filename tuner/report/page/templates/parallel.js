// Parallel coordinates on a canvas: smooth lines, trials of a category side by side, brushes.
const SVG = "http://www.w3.org/2000/svg";
const GOLDEN = 0.6180339887498949;
const REACH = 22; // pixels beside an axis in which a drag brushes it

function shape(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

class ParallelPanel {
  constructor(panel, spec, table) {
    Object.assign(this, { panel, spec, table, drawn: false, isParallel: true });
    [this.lines] = spec.data;
    this.plot = panel.querySelector(".plot");
    this.hint = panel.querySelector(".sideways");
    panel.querySelector(".save").addEventListener("click", () => this.save());
    this.brushes = this.lines.dimensions.map(() => null);
    this.plot.style.setProperty("--wanted", `${this.lines.dimensions.length * 92}px`);
    this.canvas = document.createElement("canvas");
    this.top = document.createElement("canvas");
    this.svg = shape("svg", { class: "parallel-axes" });
    this.plot.append(this.canvas, this.top, this.svg);
    this.svg.addEventListener("pointerdown", (event) => this.press(event));
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerup", (event) => this.release(event));
    this.svg.addEventListener("pointercancel", () => { this.dragging = null; });
    this.svg.addEventListener("pointerleave", () => this.leave());
  }

  get isVisible() { return this.panel.offsetParent !== null; }

  draw() {
    if (!this.isVisible) return;
    const box = { width: this.plot.clientWidth, height: this.spec.height };
    const { dimensions } = this.lines;
    const longest = Math.max(...dimensions[0].ticks.map(([, text]) => Math.min(text.length, 16)), 4);
    const pad = { left: Math.max(50, 16 + 7 * longest), right: 58, top: 40, bottom: 14 };
    Object.assign(this, { box, pad });
    this.xs = dimensions.map((_, d) => pad.left + (d * (box.width - pad.left - pad.right)) / (dimensions.length - 1));
    this.ys = dimensions.map((dimension) => this.heights(dimension));
    for (const canvas of [this.canvas, this.top]) this.fit(canvas);
    this.paint();
    this.axes();
    this.hint.style.display = box.width > this.plot.parentElement.clientWidth ? "block" : "none";
    this.drawn = true;
    this.panel.dataset.drawn = "yes";
  }

  fit(canvas) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = this.box.width * ratio;
    canvas.height = this.box.height * ratio;
    canvas.style.width = `${this.box.width}px`;
    canvas.style.height = `${this.box.height}px`;
    canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
  }

  y({ range }, value) {
    const inner = this.box.height - this.pad.top - this.pad.bottom;
    return this.pad.top + inner * (1 - (value - range[0]) / (range[1] - range[0]));
  }

  heights(dimension) {
    return dimension.values.map((value, i) => {
      const share = ((this.lines.trials[i] * GOLDEN) % 1) - 0.5;
      return this.y(dimension, value + share * dimension.spread);
    });
  }

  isKept(i) {
    return this.brushes.every((brush, d) => !brush || (this.ys[d][i] >= brush[0] && this.ys[d][i] <= brush[1]));
  }

  paint(pen = this.canvas.getContext("2d")) {
    const count = this.lines.trials.length;
    const color = Theme.colors();
    pen.clearRect(0, 0, this.box.width, this.box.height);
    const kept = this.lines.trials.map((_, i) => this.isKept(i));
    const opacity = count > 1000 ? 0.22 : count > 300 ? 0.4 : count > 80 ? 0.62 : 0.85;
    pen.lineWidth = count > 300 ? 1 : 1.4;
    if (kept.includes(false)) {
      [pen.strokeStyle, pen.globalAlpha] = [color.faint, Math.min(0.22, opacity)];
      kept.forEach((is, i) => { if (!is) this.stroke(pen, i); });
    }
    pen.globalAlpha = kept.includes(false) ? Math.max(0.75, opacity) : opacity;
    kept.forEach((is, i) => {
      if (!is) return;
      pen.strokeStyle = color.shades[Math.min(5, Math.floor((i * 6) / count))];
      this.stroke(pen, i);
    });
    if (kept[count - 1]) {
      [pen.globalAlpha, pen.strokeStyle, pen.lineWidth] = [1, color.best, 3];
      this.stroke(pen, count - 1);
    }
  }

  // With its handles at thirds, a Bézier curve is y0 + (y1 - y0)(3t² - 2t³) and linear in x.
  stroke(pen, i) {
    pen.beginPath();
    pen.moveTo(this.xs[0], this.ys[0][i]);
    for (let d = 1; d < this.xs.length; d += 1) {
      const [x0, x1, y0, y1] = [this.xs[d - 1], this.xs[d], this.ys[d - 1][i], this.ys[d][i]];
      pen.bezierCurveTo(x0 + (x1 - x0) / 3, y0, x1 - (x1 - x0) / 3, y1, x1, y1);
    }
    pen.stroke();
  }

  axes() {
    const color = Theme.colors();
    const { dimensions } = this.lines;
    const room = this.xs[1] - this.xs[0];
    this.svg.replaceChildren();
    this.svg.setAttribute("width", this.box.width);
    this.svg.setAttribute("height", this.box.height);
    dimensions.forEach((dimension, d) => {
      const group = shape("g", {});
      const [x, bottom] = [this.xs[d], this.box.height - this.pad.bottom];
      const isLast = d === dimensions.length - 1;
      group.append(shape("line", { x1: x, x2: x, y1: this.pad.top, y2: bottom, stroke: color.axis, "stroke-width": 1.5 }));
      if (dimension.spread) this.bands(group, dimension, x);
      for (const [place, text] of dimension.ticks) {
        group.append(shape("text", {
          x: isLast ? x + 8 : x - 8, y: this.y(dimension, place), "text-anchor": isLast ? "start" : "end",
          "dominant-baseline": "middle", class: "tick", fill: color.text, stroke: color.paper,
        }, shorter(text, d === 0 ? 16 : isLast ? 8 : Math.max(6, Math.floor(room / 10)))));
      }
      const title = shape("text", { x, y: 18, "text-anchor": "middle", class: "axis-title", fill: color.ink },
        shorter(dimension.title, Math.max(8, Math.floor(room / 7.4))));
      title.append(shape("title", {}, dimension.title));
      group.append(title, shape("rect", {
        x: x - REACH, y: this.pad.top - 8, width: 2 * REACH, height: bottom - this.pad.top + 16, class: "reach", fill: "transparent",
      }));
      const brush = this.brushes[d];
      if (brush) {
        group.append(shape("rect", { x: x - 7, y: brush[0], width: 14, height: brush[1] - brush[0], rx: 4, class: "brush",
          fill: color.best, "fill-opacity": 0.35, stroke: color.best }));
      }
      this.svg.append(group);
    });
  }

  // One band a category, behind which its trials are spread.
  bands(group, dimension, x) {
    for (const [place] of dimension.ticks) {
      const [top, bottom] = [1, -1].map((end) => this.y(dimension, place + (end * dimension.spread) / 2) - end * 3);
      group.append(shape("rect", { x: x - 4, y: top, width: 8, height: bottom - top, rx: 4, fill: Theme.colors().axis, "fill-opacity": 0.55 }));
    }
  }

  place(event) {
    const bounds = this.svg.getBoundingClientRect();
    const [x, y] = [event.clientX - bounds.left, event.clientY - bounds.top];
    const d = this.xs.findIndex((axis) => Math.abs(axis - x) <= Math.min(REACH, (this.xs[1] - this.xs[0]) / 2));
    return { x, y: Math.max(this.pad.top - 4, Math.min(this.box.height - this.pad.bottom + 4, y)), d };
  }

  press(event) {
    const { y, d } = this.place(event);
    this.pressed = event.timeStamp;
    if (d < 0 || event.button) return;
    this.dragging = { d, from: y };
    this.svg.setPointerCapture(event.pointerId);
    this.unmark();
  }

  move(event) {
    const { x, y, d } = this.place(event);
    if (!this.dragging) {
      this.svg.style.cursor = d >= 0 ? "ns-resize" : "";
      if (d < 0) this.hover(event, x, y); else this.leave();
      return;
    }
    const { from } = this.dragging;
    if (Math.abs(y - from) < 4) return;
    this.brushes[this.dragging.d] = [Math.min(from, y), Math.max(from, y)];
    this.paint();
    this.axes();
    this.say();
  }

  release(event) {
    const drag = this.dragging;
    this.dragging = null;
    if (!drag) {
      if (this.marked !== undefined && this.table) this.table.onSelect(this.table.trials.indexOf(this.lines.trials[this.marked]));
      return;
    }
    if (Math.abs(this.place(event).y - drag.from) < 4) this.brushes[drag.d] = null; // a click clears
    this.paint();
    this.axes();
    this.say(true);
  }

  say(done) {
    const on = this.brushes.some(Boolean);
    const { trials } = this.lines;
    const kept = trials.filter((_, i) => this.isKept(i));
    const text = `${kept.length.toLocaleString("en")} of ${trials.length.toLocaleString("en")} trials pass through the brushes, and the table above shows only these. Click an axis to clear its brush.`;
    this.panel.querySelector(".brushed").textContent = on ? text : "";
    if (done && this.table) this.table.brush(on ? new Set(kept) : null);
  }

  clearBrush() {
    this.brushes = this.brushes.map(() => null);
    this.draw();
    this.say(true);
  }

  hover(event, x, y) {
    const d = Math.max(1, this.xs.findIndex((axis) => axis > x));
    const t = (x - this.xs[d - 1]) / (this.xs[d] - this.xs[d - 1]);
    if (t < 0 || t > 1) { this.leave(); return; }
    const bend = t * t * (3 - 2 * t);
    let nearest = -1, least = 9;
    for (let i = 0; i < this.lines.trials.length; i += 1) {
      const [y0, y1] = [this.ys[d - 1][i], this.ys[d][i]];
      const distance = Math.abs(y0 + (y1 - y0) * bend - y);
      if (distance <= least && this.isKept(i)) [nearest, least] = [i, distance];
    }
    if (nearest < 0) { this.leave(); return; }
    if (this.marked !== nearest) this.mark(nearest);
    const trial = this.lines.trials[nearest];
    if (this.table) Tooltip.show(event, { head: this.table.headline(trial), rows: this.table.facts(trial) });
  }

  save() {
    this.draw();
    const lines = new SvgPen();
    this.paint(lines);
    const { width, height } = this.box;
    const svg = shape("svg", { xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, "font-family": FONT });
    svg.append(shape("rect", { width, height, fill: Theme.colors().paper }), ...lines.paths);
    for (const group of this.svg.cloneNode(true).children) {
      group.querySelectorAll(".reach").forEach((rect) => rect.remove());
      group.querySelectorAll("text").forEach((text) => {
        text.setAttribute("font-size", text.matches(".tick") ? 11.5 : 13);
        if (text.matches(".tick")) { text.setAttribute("paint-order", "stroke"); text.setAttribute("stroke-width", 4); }
      });
      svg.append(group.cloneNode(true));
    }
    saveSvg(new XMLSerializer().serializeToString(svg), this.panel);
  }

  mark(i) {
    this.unmark();
    this.marked = i;
    const pen = this.top.getContext("2d");
    for (const [width, color] of [[7, Theme.colors().paper], [3, Theme.colors().ink]]) {
      [pen.lineWidth, pen.strokeStyle] = [width, color];
      this.stroke(pen, i);
    }
  }

  unmark() {
    this.marked = undefined;
    if (this.box) this.top.getContext("2d").clearRect(0, 0, this.box.width, this.box.height);
  }

  leave() {
    Tooltip.hide();
    if (this.marked !== undefined) this.unmark();
  }
}

// What a canvas's pen is told, kept as paths.
class SvgPen {
  constructor() { Object.assign(this, { paths: [], globalAlpha: 1, lineWidth: 1, strokeStyle: "", way: [] }); }
  clearRect() { this.paths = []; }
  beginPath() { this.way = []; }
  moveTo(...at) { this.way.push(`M${at.map(rounded)}`); }
  bezierCurveTo(...at) { this.way.push(`C${at.map(rounded)}`); }
  stroke() {
    this.paths.push(shape("path", { d: this.way.join(""), fill: "none", stroke: this.strokeStyle,
      "stroke-width": this.lineWidth, "stroke-opacity": this.globalAlpha }));
  }
}
const rounded = (value) => Math.round(value * 10) / 10;

function shorter(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
