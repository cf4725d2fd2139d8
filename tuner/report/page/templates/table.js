// The table of trials: sorted, filtered, and drawn only where it can be seen.
const ROW_HEIGHT = 34;
const OVERSCAN = 12;

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

class TrialTable {
  constructor(panel, data, onSelect) {
    this.panel = panel;
    this.columns = data.columns;
    this.best = data.best;
    this.onSelect = onSelect;
    this.size = this.columns.length ? this.columns[0].texts.length : 0;
    this.byKind = (kind) => this.columns.find((column) => column.kind === kind);
    this.trials = this.byKind("trial").sort;
    this.order = Array.from({ length: this.size }, (_, i) => i);
    this.texts = this.order.map((i) => this.columns.map((c) => c.texts[i]).join(" ").toLowerCase());
    this.sorted = null;
    this.states = new Set();
    this.brushed = null;
    this.box = panel.querySelector(".table-box");
    this.search = panel.querySelector("input[type=search]");
    this.everything = panel.querySelector(".all-columns input");
    this.clear = panel.querySelector(".clear-brush");
    this.everything.closest("label").hidden = this.columns.every((column) => column.shown);
    this.search.addEventListener("input", () => this.filter());
    this.everything.addEventListener("change", () => this.head());
    this.clear.addEventListener("click", () => this.onClearBrush && this.onClearBrush());
    this.box.addEventListener("scroll", () => this.draw(), { passive: true });
    panel.querySelector("tbody").addEventListener("click", (event) => {
      const row = event.target.closest("tr[data-row]");
      if (row) onSelect(Number(row.dataset.row));
    });
    panel.querySelector("tbody").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target.dataset.row) onSelect(Number(event.target.dataset.row));
    });
    this.scoreShares();
    this.stateButtons();
    this.head();
    this.filter();
  }

  scoreShares() {
    const scores = this.byKind("score").sort;
    const known = scores.filter((score) => score !== null);
    // The best is first: bars grow from the worst to it, whichever direction is better.
    const best = known[0], worst = known[known.length - 1];
    this.share = (i) => (scores[i] === null || best === worst ? 0 : (100 * (scores[i] - worst)) / (best - worst));
  }

  stateButtons() {
    const counts = new Map();
    for (const state of this.byKind("state").texts) counts.set(state, (counts.get(state) || 0) + 1);
    if (counts.size < 2) return;
    const group = this.panel.querySelector(".state-filter");
    for (const [state, count] of counts) {
      const button = element("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "false");
      button.append(element("i", undefined, `dot state-${state}`), `${state} ${count.toLocaleString("en")}`);
      button.addEventListener("click", () => {
        const on = !this.states.delete(state);
        if (on) this.states.add(state);
        button.setAttribute("aria-pressed", String(on));
        this.filter();
      });
      group.append(button);
    }
  }

  head() {
    this.shown = this.columns.filter((column) => column.shown || this.everything.checked);
    const line = element("tr");
    const widths = document.createDocumentFragment();
    for (const column of this.shown) {
      const cell = element("th", undefined, column.sort ? "n" : "");
      const button = element("button", column.title);
      button.type = "button";
      button.title = column.name;
      button.addEventListener("click", () => this.sortBy(column));
      cell.scope = "col";
      if (column.kind === "reason") cell.classList.add("why");
      cell.append(button);
      line.append(cell);
      const longest = column.texts.reduce((most, text) => Math.max(most, text.length), column.title.length + 2);
      const width = element("col");
      width.style.width = `${Math.min(column.kind === "reason" ? 40 : 26, Math.max(5, longest)) * 0.56 + 1.7}rem`;
      widths.append(width);
    }
    this.panel.querySelector("colgroup").replaceChildren(widths);
    this.panel.querySelector("thead").replaceChildren(line);
    this.marks();
    this.draw(true);
  }

  marks() {
    const cells = this.panel.querySelectorAll("thead th");
    this.shown.forEach((column, i) => {
      if (this.sorted && this.sorted.column === column) {
        cells[i].setAttribute("aria-sort", this.sorted.down ? "descending" : "ascending");
      } else cells[i].removeAttribute("aria-sort");
    });
  }

  // First click: the way one would look for it; second: the other way; third: as it was.
  sortBy(column) {
    const first = column.kind === "score" || column.kind === "metric";
    if (!this.sorted || this.sorted.column !== column) this.sorted = { column, down: first, turns: 1 };
    else if (this.sorted.turns === 1) this.sorted = { column, down: !this.sorted.down, turns: 2 };
    else this.sorted = null;
    this.marks();
    this.filter();
  }

  compare() {
    const { column, down } = this.sorted;
    const sign = down ? -1 : 1;
    const values = column.sort;
    if (!values) return (a, b) => sign * column.texts[a].localeCompare(column.texts[b], "en", { numeric: true }) || a - b;
    return (a, b) => {
      if (values[a] === null || values[b] === null) return (values[a] === null) - (values[b] === null) || a - b;
      return sign * (values[a] - values[b]) || a - b;
    };
  }

  // Words must all be somewhere in the row; name<value and the like compare one column.
  tests() {
    return this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean).map((word) => {
      const parts = /^([^<>=]+)(<=|>=|<|>|=)(.+)$/.exec(word);
      const column = parts && this.columns.find((c) => [c.title, c.name].some((n) => n.toLowerCase() === parts[1]));
      if (!column) return (i) => this.texts[i].includes(word);
      const wanted = Number(parts[3]);
      if (column.sort && !Number.isNaN(wanted)) {
        const does = { "<": (v) => v < wanted, ">": (v) => v > wanted, "<=": (v) => v <= wanted, ">=": (v) => v >= wanted, "=": (v) => v === wanted }[parts[2]];
        return (i) => column.sort[i] !== null && does(column.sort[i]);
      }
      return (i) => parts[2] === "=" && column.texts[i].toLowerCase() === parts[3];
    });
  }

  filter() {
    const tests = this.tests();
    const states = this.byKind("state").texts;
    this.visible = this.order.filter((i) =>
      (!this.states.size || this.states.has(states[i])) &&
      (!this.brushed || this.brushed.has(this.trials[i])) &&
      tests.every((test) => test(i)));
    if (this.sorted) this.visible.sort(this.compare());
    const all = this.size.toLocaleString("en");
    this.panel.querySelector(".count").textContent = `${this.visible.length.toLocaleString("en")} of ${all} trials`;
    this.box.scrollTop = 0;
    this.draw(true);
  }

  brush(trials) {
    this.brushed = trials;
    this.clear.hidden = trials === null;
    this.filter();
  }

  draw(force) {
    if (!this.visible) return;
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW_HEIGHT) - OVERSCAN);
    const height = this.whole ? Infinity : Math.max(this.box.clientHeight, 440);
    const last = Math.min(this.visible.length, first + Math.ceil(height / ROW_HEIGHT) + 2 * OVERSCAN);
    if (!force && first === this.first && last === this.last) return;
    [this.first, this.last] = [first, last];
    const rows = document.createDocumentFragment();
    rows.append(this.spacer(first));
    for (let place = first; place < last; place += 1) rows.append(this.row(this.visible[place]));
    rows.append(this.spacer(this.visible.length - last));
    this.panel.querySelector("tbody").replaceChildren(rows);
  }

  spacer(count) {
    const row = element("tr", undefined, "spacer");
    const cell = element("td");
    cell.colSpan = this.shown.length;
    cell.style.height = `${count * ROW_HEIGHT}px`;
    row.append(cell);
    return row;
  }

  row(i) {
    const row = element("tr", undefined, this.trials[i] === this.best ? "is-best" : "");
    row.dataset.row = i;
    row.tabIndex = 0;
    for (const column of this.shown) {
      const text = column.texts[i];
      const cell = element("td", undefined, column.sort ? "n" : "");
      if (column.kind === "state") cell.append(element("i", undefined, `dot state-${text}`));
      cell.append(element("bdi", text === "" && column.kind === "value" ? "·" : text.split("\n", 1)[0]));
      if (text === "") cell.classList.add("absent");
      if (column.kind === "reason") cell.classList.add("why");
      if (column.kind === "score") {
        cell.classList.add("score");
        cell.style.setProperty("--share", `${this.share(i)}%`);
      }
      if (text.length > 20) cell.title = text;
      row.append(cell);
    }
    return row;
  }
}
