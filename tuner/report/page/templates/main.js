// What ties table, figures and tabs of each experiment together.
TrialTable.prototype.headline = function headline(trial) {
  const i = this.trials.indexOf(trial);
  const score = this.byKind("score").texts[i];
  return `Trial ${this.byKind("trial").texts[i]} · ${this.byKind("state").texts[i]} · ${score}`;
};

TrialTable.prototype.facts = function facts(trial) {
  const i = this.trials.indexOf(trial);
  return this.columns.filter((c) => c.kind === "value" && c.shown && c.texts[i] !== "").slice(0, 14).map((c) => [c.title, c.texts[i]]);
};

const experiments = new Map();
for (const script of document.querySelectorAll("script.data")) {
  const id = script.dataset.experiment;
  const data = JSON.parse(script.textContent);
  const panel = document.querySelector(`.trials[data-experiment="${id}"]`);
  const experiment = { id, data, figures: [], table: null };
  if (panel && panel.querySelector("table")) {
    experiment.table = new TrialTable(panel, data, (i) => openTrial(experiment, i));
  }
  document.querySelectorAll(`figure[data-experiment="${id}"]`).forEach((figure) => {
    const spec = data.figures[figure.dataset.figure];
    const Panel = spec.data[0].type === "parallel" ? ParallelPanel : FigurePanel;
    const made = new Panel(figure, spec, experiment.table);
    experiment.figures.push(made);
    figure.made = made;
  });
  if (experiment.table) {
    experiment.table.onClearBrush = () => experiment.figures.filter((figure) => figure.isParallel).forEach((figure) => figure.clearBrush());
  }
  experiments.set(id, experiment);
}
const allFigures = () => [...experiments.values()].flatMap((experiment) => experiment.figures);

// ------------------------------------------------------------------ drawn when they come near

const near = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (isIntersecting && !target.made.drawn) target.made.draw();
  }
}, { rootMargin: "240px 0px" });
const sizes = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const { made } = target;
    const width = made.plot.clientWidth;
    if (made.drawn && width && width !== made.width) requestAnimationFrame(() => made.draw());
    made.width = width;
  }
});
// plotly stands below this script, so that the table need not wait for it.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("figure[data-figure]").forEach((figure) => { near.observe(figure); sizes.observe(figure); });
});

const redraw = () => allFigures().forEach((figure) => figure.drawn && figure.draw());
Theme.onChange(redraw);
document.getElementById("theme").addEventListener("click", Theme.toggle);
window.addEventListener("beforeprint", () => {
  Theme.print(true);
  allFigures().forEach((figure) => figure.draw());
  setWhole(true);
});
window.addEventListener("afterprint", () => { Theme.print(false); redraw(); setWhole(false); });
function setWhole(on) {
  for (const { table } of experiments.values()) if (table) { table.whole = on; table.draw(true); }
}

// ------------------------------------------------------------------ one trial

const dialog = document.getElementById("trial");
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

function openTrial({ table, data }, i) {
  if (i < 0) return;
  Tooltip.hide();
  const trial = table.trials[i];
  document.getElementById("trial-title").textContent = `Trial ${table.byKind("trial").texts[i]}`;
  const body = document.getElementById("trial-body");
  body.replaceChildren(element("p", `${table.byKind("state").texts[i]} · score ${table.byKind("score").texts[i]}`, "lead"));
  body.append(...sparkline(data, trial));
  for (const [title, kinds] of [["Values", ["value"]], ["Last epoch", ["metric"]], ["Facts", ["fact"]]]) {
    const list = element("dl");
    for (const column of table.columns) {
      if (kinds.includes(column.kind) && column.texts[i] !== "") list.append(element("dt", column.kind === "value" ? column.name : column.title), element("dd", column.texts[i]));
    }
    if (list.children.length) body.append(element("h3", title), list);
  }
  const reason = table.byKind("reason").texts[i];
  if (reason) body.append(element("h3", "Reason"), element("pre", reason));
  dialog.showModal();
  dialog.scrollTop = 0;
}

// The trial's own curve of the objective, and its ends in words.
function sparkline(data, trial) {
  const { curves } = data.figures;
  if (!curves) return [];
  for (const [t, trace] of curves.data.entries()) {
    const { trials, lengths } = trace.meta || {};
    const place = lengths ? trials.indexOf(trial) : -1;
    if (place < 0) continue;
    let start = 0;
    for (let i = 0; i < place; i += 1) start += lengths[i] + 1;
    const values = trace.y.slice(start, start + lengths[place]).filter((y) => y !== null);
    if (values.length < 2) return [];
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const points = values.map((y, i) => `${(i / (values.length - 1)) * 560 + 4},${100 - ((y - low) / (high - low || 1)) * 88}`);
    const svg = polyline(points, trial === data.best ? Theme.colors().best : Theme.colors().trial);
    svg.setAttribute("class", "spark");
    svg.setAttribute("viewBox", "0 0 568 106");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("role", "img");
    const said = `${data.metric} from ${low} to ${high} over ${trace.x[start + lengths[place] - 1]} epochs`;
    svg.setAttribute("aria-label", said);
    svg.firstChild.setAttribute("vector-effect", "non-scaling-stroke");
    return [svg, element("p", said, "note")];
  }
  return [];
}

// ------------------------------------------------------------------ tabs and anchors

const tabs = [...document.querySelectorAll("[role=tab]")];
function openTab(id) {
  for (const tab of tabs) {
    const on = tab.getAttribute("aria-controls") === id;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !on;
  }
  const experiment = experiments.get(id);
  if (experiment && experiment.table) experiment.table.draw(true);
  if (experiment) experiment.figures.forEach((figure) => figure.drawn && figure.draw());
}
tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => { openTab(tab.getAttribute("aria-controls")); window.scrollTo(0, 0); });
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) { const next = tabs[(place + step + tabs.length) % tabs.length]; next.focus(); next.click(); }
  });
});
document.querySelectorAll("[data-tab]").forEach((link) => link.addEventListener("click", (event) => {
  event.preventDefault();
  openTab(link.dataset.tab);
  window.scrollTo(0, 0);
}));
if (tabs.length && location.hash) {
  const section = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const panel = section && section.closest("[role=tabpanel]");
  if (panel) { openTab(panel.id); section.scrollIntoView(); }
}

const links = new Map([...document.querySelectorAll(".anchors a")].map((link) => [link.hash.slice(1), link]));
const reading = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    links.forEach((link) => link.classList.remove("here"));
    links.get(target.id).classList.add("here");
  }
}, { rootMargin: "-15% 0px -75% 0px" });
links.forEach((_, id) => { const target = document.getElementById(id); if (target) reading.observe(target); });
document.documentElement.dataset.ready = "yes";

// While its run is on, the file is written again and again.
const refreshSeconds = Number(document.body.dataset.refresh || 0);
if (refreshSeconds) setTimeout(() => location.reload(), 1000 * refreshSeconds);
