// Figures: drawn when they come into sight, in the colours of the theme, with our own tooltips.
const CONFIG = {
  displaylogo: false, responsive: false, showTips: false, scrollZoom: false,
  modeBarButtons: [["toImage", "resetScale2d"]], // none that would send anything anywhere
  toImageButtonOptions: { scale: 3 },
};
const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const COLOR_KEYS = new Set(["color", "fillcolor", "fgcolor"]);
const isPlain = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function merge(base, more) {
  const made = { ...base };
  for (const [key, value] of Object.entries(more || {})) {
    made[key] = isPlain(value) && isPlain(made[key]) ? merge(made[key], value) : value;
  }
  return made;
}

// A copy with colours in place of their words; long arrays of numbers are shared.
function colored(value, key) {
  if (typeof value === "string") {
    if (!value.startsWith("@")) return value;
    if (key === "colorscale") return Theme.scale();
    return COLOR_KEYS.has(key) ? Theme.resolve(value) : value;
  }
  if (Array.isArray(value)) {
    const has = isPlain(value[0]) || (key === "color" && typeof value[0] === "string");
    return has ? value.map((item) => colored(item, key)) : value;
  }
  if (!isPlain(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, colored(item, name)]));
}

function baseLayout(width) {
  const color = Theme.colors();
  const narrow = width < 480;
  const axis = {
    gridcolor: color.grid, linecolor: color.axis, zeroline: false, automargin: true, ticklen: 4,
    tickcolor: "rgba(0,0,0,0)", tickfont: { color: color.muted, size: narrow ? 10.5 : 12 },
    title: { font: { color: color.muted, size: narrow ? 11.5 : 12.5 }, standoff: 8 },
  };
  return {
    font: { family: FONT, size: 12, color: color.text },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: narrow ? 42 : 54, r: 10, t: 10, b: 40 },
    xaxis: axis, yaxis: axis, showlegend: false, hovermode: "closest", hoverdistance: 14,
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { color: color.text, size: 12 } },
    dragmode: window.matchMedia("(pointer: coarse)").matches || narrow ? false : "zoom",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color.axis, activecolor: color.ink },
  };
}

class FigurePanel {
  constructor(panel, spec, table) {
    Object.assign(this, { panel, spec, table, view: 0, drawn: false });
    this.plot = panel.querySelector(".plot");
    this.box = panel.querySelector(".plot-box");
    this.caption = panel.querySelector("figcaption");
    panel.querySelector(".save").addEventListener("click", () => this.save());
    panel.querySelectorAll("[data-view]").forEach((button) =>
      button.addEventListener("click", () => this.show(Number(button.dataset.view))));
    const select = panel.querySelector(".view-select");
    if (select) select.addEventListener("change", () => this.show(Number(select.value)));
  }

  get isVisible() { return this.panel.offsetParent !== null; }

  show(view) {
    this.view = view;
    this.panel.querySelectorAll("[data-view]").forEach((button) =>
      button.setAttribute("aria-pressed", String(Number(button.dataset.view) === view)));
    const { note } = this.spec.views[view];
    if (note) this.caption.textContent = note;
    this.draw();
  }

  content() {
    const view = this.spec.views[this.view] || { data: [], layout: {} };
    const width = this.plot.clientWidth;
    const data = this.spec.data.map((trace, i) => this.dressed(colored(merge(trace, view.data[i]))));
    const layout = merge(merge(baseLayout(width), colored(this.spec.layout)), colored(view.layout));
    layout.height = layout.height || this.spec.height;
    layout.width = Math.min(width, layout.width || width);
    layout.uirevision = this.view;
    if (layout.showlegend) layout.margin.t = width < 480 ? 64 : 34;
    this.plot.style.height = `${layout.height}px`;
    return { data, layout };
  }

  dressed(trace) {
    const color = Theme.colors();
    if (trace.type === "heatmap") {
      trace.colorbar = merge({ thickness: 10, outlinewidth: 0, len: 1, tickfont: { color: color.muted },
        title: { side: "right", font: { color: color.muted, size: 12 } } }, trace.colorbar);
      if (this.plot.clientWidth < 480) trace.colorbar = merge(trace.colorbar, { thickness: 7, nticks: 5, xpad: 4 });
    }
    return trace.hoverinfo === "skip" ? trace : { ...trace, hoverinfo: "none" };
  }

  draw() {
    if (!this.isVisible || !window.Plotly) return;
    const { data, layout } = this.content();
    this.unmark();
    Plotly.react(this.plot, data, layout, CONFIG);
    if (!this.drawn) this.listen();
    this.drawn = true;
    this.panel.dataset.drawn = "yes";
  }

  // As it is seen, on paper of the theme's colour.
  save() {
    this.draw();
    const { data, layout } = this.content();
    const figure = { data, layout: { ...layout, paper_bgcolor: Theme.colors().paper } };
    const { width, height } = layout;
    Plotly.toImage(figure, { format: "svg", width, height }).then((url) =>
      saveSvg(decodeURIComponent(url.slice(url.indexOf(",") + 1)), this.panel));
  }

  listen() {
    this.plot.on("plotly_hover", (event) => this.hover(event));
    this.plot.on("plotly_unhover", () => this.leave());
    this.plot.on("plotly_relayout", () => this.leave());
    this.plot.on("plotly_click", (event) => {
      const trial = this.trialOf(event.points[0]);
      if (trial !== null && this.table) this.table.onSelect(this.table.trials.indexOf(trial));
    });
  }

  // Which trial a point stands for; curves are one long trace with gaps between trials.
  trialOf(point) {
    const { trials, lengths } = point.data.meta || {};
    if (!lengths) return typeof point.customdata === "number" ? point.customdata : null;
    let place = point.pointNumber;
    for (let i = 0; i < trials.length; i += 1) {
      if (place < lengths[i]) return trials[i];
      place -= lengths[i] + 1;
    }
    return null;
  }

  hover(event) {
    const point = event.points[0];
    const trial = this.trialOf(point);
    const place = point.pointNumber;
    let text = Array.isArray(point.data.text) ? point.data.text : null;
    if (text) text = Array.isArray(place) ? text[place[0]][place[1]] : text[place];
    Tooltip.show(event.event, this.lines(trial, point, text));
    this.mark(trial, point);
  }

  lines(trial, point, text) {
    if (trial === null || !this.table) return { head: text || "", rows: this.cellRows(point) };
    const rows = this.table.facts(trial);
    if (text) rows.unshift([text, ""]);
    if (point.data.meta && point.data.meta.lengths) {
      const metric = this.metricName();
      rows.unshift([`${metric} in epoch ${point.x}`, String(point.y)]);
    }
    return { head: this.table.headline(trial), rows };
  }

  metricName() {
    const pressed = this.panel.querySelector("[data-view][aria-pressed=true]");
    const select = this.panel.querySelector(".view-select");
    if (pressed) return pressed.textContent;
    return select ? select.selectedOptions[0].textContent : "value";
  }

  cellRows(point) {
    if (point.data.type !== "heatmap") return [];
    const { columns, rows, axes, unit } = point.data.meta || {};
    if (columns) {
      const [row, column] = point.pointNumber;
      return [[axes[1], rows[row]], [axes[0], columns[column]], [unit, String(point.z)]];
    }
    const layout = this.plot.layout;
    return ["xaxis", "yaxis"].map((name, i) => [plain(layout[name].title.text), plain(layout[name].ticktext[i ? point.y : point.x])]);
  }

  leave() {
    Tooltip.hide();
    this.unmark();
  }

  // The whole curve of the trial at the pointer, over all others.
  mark(trial, point) {
    this.unmark();
    const { trials, lengths } = point.data.meta || {};
    if (!lengths) return;
    const full = this.plot._fullLayout;
    let start = 0;
    for (let i = 0; trials[i] !== trial; i += 1) start += lengths[i] + 1;
    const length = lengths[trials.indexOf(trial)];
    const { xaxis, yaxis } = full;
    const path = [];
    for (let i = start; i < start + length; i += 1) {
      const [x, y] = [point.data.x[i], point.data.y[i]];
      if (y !== null) path.push(`${xaxis.l2p(x) + xaxis._offset},${yaxis.l2p(y) + yaxis._offset}`);
    }
    this.overlay = polyline(path, Theme.colors().ink);
    this.box.append(this.overlay);
  }

  unmark() {
    if (this.overlay) this.overlay.remove();
    this.overlay = null;
  }
}

function polyline(points, color) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "overlay");
  svg.setAttribute("width", "100%");
  svg.setAttribute("height", "100%");
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  for (const [name, value] of [["points", points.join(" ")], ["fill", "none"], ["stroke", color], ["stroke-width", "2.5"], ["stroke-linejoin", "round"]]) {
    line.setAttribute(name, value);
  }
  svg.append(line);
  return svg;
}

// A file beside the others that the browser has saved; nothing leaves the machine.
function saveSvg(text, panel) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "image/svg+xml" }));
  link.download = `${document.title}-${panel.dataset.figure}.svg`.replace(/[^\w.-]+/g, "-");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// What plotly would have shown for a label: its entities as characters.
function plain(text) {
  return String(text).replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
}

const Tooltip = {
  get box() { return document.getElementById("tooltip"); },
  show(event, { head, rows }) {
    const list = element("dl");
    for (const [name, text] of rows) list.append(element("dt", name), element("dd", text));
    this.box.replaceChildren(element("b", head), list);
    this.box.hidden = false;
    const point = event && event.touches ? event.touches[0] : event;
    const { width, height } = this.box.getBoundingClientRect();
    const [x, y] = point ? [point.clientX, point.clientY] : [0, 0];
    const left = x + 18 + width > window.innerWidth ? Math.max(6, x - width - 18) : x + 18;
    this.box.style.left = `${left}px`;
    this.box.style.top = `${Math.max(6, Math.min(y + 14, window.innerHeight - height - 6))}px`;
  },
  hide() { this.box.hidden = true; },
};
