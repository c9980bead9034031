// === Charts ===

// Distinct for most colour-blind readers too; beyond ten runs the line is dashed.
const COLOURS = [
  "#2563a8", "#d9660d", "#3d8f4f", "#8a4fb0", "#c0392b", "#12939a", "#b58900", "#d0559b", "#6b4c3b", "#5c6675",
];
const DASHES = ["", "7 4", "2 3", "9 3 2 3"];
const MARGIN = { left: 50, right: 12, top: 10, bottom: 28 };

/** Label -> [colour, dashes], the same on the whole page. */
const STYLES = new Map();
for (const figure of DATA.figures) {
  for (const chart of figure.charts) {
    for (const { label } of chart.lines) {
      const place = STYLES.size;
      const dash = DASHES[Math.floor(place / COLOURS.length) % DASHES.length];
      if (!STYLES.has(label)) STYLES.set(label, [COLOURS[place % COLOURS.length], dash]);
    }
  }
}

/** Maps values to places between two ends, and chooses round ticks. */
class Axis {
  constructor(values, start, end, { log = false, whole = false, padded = false } = {}) {
    Object.assign(this, { log, whole, start, end });
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) {
      low = Math.min(low, this.scale(value));
      high = Math.max(high, this.scale(value));
    }
    if (!(low <= high)) [low, high] = [0, 1];
    const room = low === high ? Math.abs(low) * 0.1 || 1 : padded ? (high - low) * 0.06 : 0;
    [this.low, this.high] = [low - room, high + room];
  }

  scale(value) {
    return this.log ? Math.log10(value) : value;
  }

  place(value) {
    return this.start + ((this.scale(value) - this.low) / (this.high - this.low)) * (this.end - this.start);
  }

  ticks(about) {
    if (this.log) {
      const powers = [];
      for (let power = Math.floor(this.low); power <= Math.ceil(this.high); power++) powers.push(power);
      const mantissas = this.high - this.low < 0.5 ? [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]
        : this.high - this.low < 1.7 ? [1, 2, 5] : [1];
      const values = powers.flatMap((power) => mantissas.map((m) => m * 10 ** power))
        .filter((value) => this.low <= Math.log10(value) && Math.log10(value) <= this.high);
      const step = Math.ceil(values.length / 6) || 1;
      if (values.length > 1) return values.filter((_, i) => i % step === 0);
      // A range too narrow for powers of ten is nearly straight: linear ticks are its round numbers.
      return new Axis([10 ** this.low, 10 ** this.high], 0, 1).ticks(about);
    }
    const rough = (this.high - this.low) / about;
    const power = 10 ** Math.floor(Math.log10(rough));
    let step = [1, 2, 5, 10].find((m) => m * power >= rough * 0.999) * power;
    if (this.whole) step = Math.max(1, step);
    const values = [];
    for (let i = Math.ceil(this.low / step - 1e-9); i <= Math.floor(this.high / step + 1e-9); i++) {
      values.push(Number((i * step).toPrecision(12)));
    }
    return values;
  }
}

/** One chart: draws itself from the state it shares with its figure. */
class ChartView {
  constructor(node, chart, state) {
    Object.assign(this, { node, chart, state });
    this.svg = node.querySelector("svg");
    this.tip = node.querySelector(".tip");
    node.querySelector(".plot").hidden = false; // without a script it would be an empty space
    const positive = chart.lines.some(({ points }) => Object.values(points).some(({ y }) => y.some((value) => value > 0)));
    this.log = chart.log && positive;
    if (positive) {
      node.querySelector(".scale").append(
        segments("Scale of the y axis", [[false, "linear"], [true, "log"]], this.log, (log) => {
          this.log = log;
          this.draw();
        }));
    }
    element(this.svg, {
      onpointermove: (event) => this.point(event.clientX - this.svg.getBoundingClientRect().left),
      onpointerdown: (event) => this.point(event.clientX - this.svg.getBoundingClientRect().left),
      onpointerleave: () => this.point(null),
      onblur: () => this.point(null),
      onkeydown: (event) => this.key(event),
    });
    new ResizeObserver(() => this.draw()).observe(this.svg);
  }

  shape(tag, attributes, ...children) {
    return element(document.createElementNS(this.svg.namespaceURI, tag), attributes, ...children);
  }

  /** The lines that are shown, on the x axis that is chosen or else on one that the chart has. */
  visible() {
    const names = new Set(this.chart.lines.flatMap(({ points }) => Object.keys(points)));
    this.xName = names.has(this.state.x) ? this.state.x : [...names][0];
    return this.chart.lines
      .filter(({ label }) => !this.state.hidden.has(label))
      .map(({ label, points }) => {
        const found = points[this.xName] || { x: [], y: [] };
        const kept = found.x.map((x, i) => [x, found.y[i]]).filter(([, y]) => !this.log || y > 0);
        return { label, points: kept, meanOf: found.meanOf };
      })
      .filter(({ points }) => points.length);
  }

  draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    if (!width) return;
    this.tip.hidden = true;
    this.lines = this.visible();
    const all = this.lines.flatMap(({ points }) => points);
    const bottom = height - MARGIN.bottom;
    this.across = new Axis(all.map(([x]) => x), MARGIN.left, width - MARGIN.right, { whole: true });
    const ys = all.map(([, y]) => y);
    if (this.chart.zero && !this.log && ys.length) ys.push(0);
    this.up = new Axis(ys, bottom, MARGIN.top, { log: this.log, padded: true });
    const drawn = [];
    if (all.length) {
      for (const value of this.up.ticks(5)) {
        const y = this.up.place(value);
        drawn.push(this.shape("path", { class: "rule", d: `M${MARGIN.left} ${y}H${width - MARGIN.right}` }));
        drawn.push(this.shape("text", { class: "y", x: MARGIN.left - 7, y: y + 4 }, short(value)));
      }
      for (const value of this.across.ticks(Math.max(3, Math.min(6, width / 90)))) {
        drawn.push(this.shape("text", { class: "x", x: this.across.place(value), y: height - 9 }, short(value)));
      }
    }
    drawn.push(this.shape("text", { class: "y", x: MARGIN.left - 12, y: height - 9 }, this.xName || ""));
    for (const { label, points } of this.lines) {
      const [colour, dashes] = STYLES.get(label);
      const path = points.map(([x, y]) => `${this.across.place(x).toFixed(1)} ${this.up.place(y).toFixed(1)}`);
      drawn.push(this.shape("path", {
        class: "line", stroke: colour, "stroke-dasharray": dashes, "data-label": label, d: `M${path.join("L")}`,
      }));
      // The points themselves where they are few: a single one makes no line.
      for (const [x, y] of points.length > 40 ? [] : points) {
        drawn.push(this.shape("circle", { cx: this.across.place(x), cy: this.up.place(y), r: 2.3, fill: colour }));
      }
    }
    // The legend tells the last value on this axis.
    for (const { label, points } of this.chart.lines) {
      const last = points[this.xName]?.last;
      this.legend?.get(label)?.replaceChildren(last === undefined ? MISSING : short(last));
    }
    this.hover = this.shape("g", {});
    this.svg.replaceChildren(...drawn, this.hover);
  }

  /** Tells the values at the points nearest to a place on the x axis (pixels), or none for null. */
  point(place) {
    const xs = (this.lines || []).flatMap(({ points }) => points.map(([x]) => x));
    this.tip.hidden = place === null || !xs.length;
    this.hover?.replaceChildren();
    if (this.tip.hidden) return;
    const distance = (x) => Math.abs(this.across.place(x) - place);
    this.at = xs.reduce((best, x) => (distance(x) < distance(best) ? x : best));
    const found = [];
    for (const { label, points } of this.lines) {
      const nearest = points.reduce((best, p) => (Math.abs(p[0] - this.at) < Math.abs(best[0] - this.at) ? p : best));
      // A run that has ended before, or not begun, says nothing here.
      const gap = points.length > 1 ? (points.at(-1)[0] - points[0][0]) / (points.length - 1) : 0;
      if (Math.abs(nearest[0] - this.at) <= Math.max(gap, 1e-9)) found.push([label, ...nearest]);
    }
    found.sort((a, b) => b[2] - a[2]);
    const { width, height } = this.svg.getBoundingClientRect();
    const x = this.across.place(this.at);
    this.hover.append(
      this.shape("path", { class: "cursor", d: `M${x} ${MARGIN.top}V${height - MARGIN.bottom}` }),
      ...found.map(([label, px, py]) => this.shape("circle", {
        cx: this.across.place(px), cy: this.up.place(py), r: 3.6, fill: STYLES.get(label)[0], stroke: "#fff",
      })));
    const meanOf = Math.max(...this.lines.map((line) => line.meanOf));
    this.tip.replaceChildren(
      `${this.xName} ${Number(this.at.toPrecision(6))}${meanOf > 1 ? `, means of ${meanOf} points` : ""}`,
      ...found.map(([label, , y]) => element("div", {}, stroke(this, label), element("span", {}, label),
        element("b", {}, short(y)))));
    // Beside the cursor, on the side with room.
    this.tip.style.left = x < width / 2 ? `${x + 12}px` : "auto";
    this.tip.style.right = x < width / 2 ? "auto" : `${width - x + 12}px`;
  }

  /** The arrows go from point to point. */
  key(event) {
    const sign = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const xs = [...new Set((this.lines || []).flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
    if (!sign || !xs.length) return;
    event.preventDefault();
    const now = this.tip.hidden ? -sign : xs.indexOf(this.at);
    const next = this.tip.hidden && sign < 0 ? xs.length - 1 : Math.max(0, Math.min(xs.length - 1, now + sign));
    this.point(this.across.place(xs[next]));
  }
}

/** A short piece of the line of a label. */
function stroke(view, label) {
  const [colour, dashes] = STYLES.get(label);
  return view.shape("svg", { class: "stroke", viewBox: "0 0 20 8", "aria-hidden": "true" },
    view.shape("path", { d: "M0 4H20", stroke: colour, "stroke-width": 3, "stroke-dasharray": dashes }));
}

function makeFigure(node, figure) {
  const names = [...new Set(figure.charts.flatMap(({ lines }) => lines.flatMap(({ points }) => Object.keys(points))))];
  const state = { x: names[0], hidden: new Set() };
  const views = figure.charts.map((chart, i) => new ChartView(node.querySelectorAll(".chart")[i], chart, state));
  const redraw = () => views.forEach((view) => view.draw());
  if (names.length > 1) {
    const choice = segments("x axis", names.map((name) => [name, name]), state.x, (name) => {
      state.x = name;
      redraw();
    });
    node.querySelector(".axis").append("x axis", choice);
  }
  const buttons = [];
  views.forEach((view) => {
    view.legend = new Map();
    const items = view.chart.lines.flatMap(({ label, points }) => {
      if (!Object.keys(points).length) return [];
      view.legend.set(label, element("b", {}));
      const button = element("button", { type: "button", "aria-pressed": true, title: "Show or hide", onclick: () => {
        if (!state.hidden.delete(label)) state.hidden.add(label);
        buttons.forEach(([other, name]) => other.setAttribute("aria-pressed", !state.hidden.has(name)));
        redraw();
      } }, stroke(view, label), element("span", {}, label, " ", view.legend.get(label)));
      buttons.push([button, label]);
      return [element("li", {}, button)];
    });
    view.node.querySelector(".legend").replaceChildren(...items);
    view.draw();
  });
}

document.querySelectorAll(".figure").forEach((node, i) => makeFigure(node, DATA.figures[i]));
