// === Gallery: the viewer; drawings.js draws the maps ===

class Gallery {
  constructor(node) {
    this.viewer = node.querySelector(".viewer");
    this.thumbs = [...node.querySelectorAll(".thumb")];
    Object.assign(this, { picture: 0, label: null, view: "one", opacity: 0.7, split: 50, turn: 0, sorted: {} });
    this.painters = [];
    this.drawings = GALLERY.tasks.map((task) => new KINDS[task.kind](task));
    this.thumbs.forEach((thumb, i) => thumb.addEventListener("click", () => this.show({ picture: i })));
    const answers = GALLERY.pictures.flatMap((picture) => picture.answers);
    const labels = [...new Set(answers.map(({ label }) => label))];
    // A network of one task would leave the others empty: the first of those with the most.
    const tasks = ({ maps }) => Object.keys(maps).length;
    this.label = answers.sort((a, b) => tasks(b) - tasks(a))[0]?.label;
    this.select = element("select", { onchange: () => this.show({ label: this.select.value }) },
      ...labels.map((label) => element("option", { value: label }, label)));
    this.select.value = this.label;
    const opacity = element("input", { type: "range", min: 0, max: 100, value: 100 * this.opacity,
      oninput: (event) => {
        this.opacity = event.target.value / 100;
        this.repaint();
      } });
    const views = [["one", "One run"], ["all", "All runs side by side"]];
    this.body = element("div", {});
    this.viewer.replaceChildren(
      element("div", { class: "controls" },
        ...(labels.length > 1 ? [
          element("label", {}, "Run", this.select),
          segments("View", views, this.view, (view) => this.show({ view })),
        ] : []),
        ...(this.drawings.some(({ overlaid }) => overlaid)
          ? [element("label", {}, "Colours over the image", opacity)] : [])),
      this.body);
    this.show({});
  }

  /** Changes what is shown and draws it; a later call overtakes one that still decodes. */
  async show(changes) {
    Object.assign(this, changes);
    this.thumbs.forEach((thumb, i) => thumb.setAttribute("aria-pressed", i === this.picture));
    const turn = ++this.turn;
    const picture = GALLERY.pictures[this.picture];
    const photo = this.thumbs[this.picture].querySelector("img");
    await photo.decode();
    const painters = [];
    const build = this.view === "one" ? this.one : this.all;
    const parts = await build.call(this, picture, photo, painters);
    if (turn !== this.turn) return;
    this.painters = painters;
    this.repaint();
    const focused = document.activeElement?.dataset?.key;
    this.body.replaceChildren(...parts);
    // The drawing replaces the controls in it: whoever uses the keyboard goes on where they were.
    if (focused) this.body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    this.viewer.dataset.drawn = turn;
  }

  /** Draws the overlays again: classes were hidden or shown, or their opacity changed. */
  repaint() {
    this.painters.forEach((draw) => draw());
  }

  /** A canvas with a map, which `repaint` draws; `range` is the map that others are compared with. */
  overlay(drawing, range, { width, height, values }, photo, painters) {
    const canvas = element("canvas", { width, height });
    painters.push(() => {
      const colourOf = drawing.colours(range, this.opacity);
      paint(canvas, { width, height }, (i) => colourOf(values[i]), drawing.overlaid ? photo : null);
    });
    return canvas;
  }

  async one(picture, photo, painters) {
    const answer = picture.answers.find(({ label }) => label === this.label) || picture.answers[0];
    const parts = [];
    for (const drawing of this.drawings) {
      const [truth, map] = [picture.truth[drawing.name], answer?.maps[drawing.name]];
      if (truth || map) parts.push(await this.task(drawing, truth, map, answer, photo, painters));
    }
    parts.push(this.scores(picture, answer));
    return parts;
  }

  /** Truth and answer over one another, and the error beside them. */
  async task(drawing, truth, map, answer, photo, painters) {
    const readout = element("output", { class: "readout" }, map ? "" : "This run has no answer for this task.");
    const decoded = await Promise.all([truth, map].map((found) => found && decode(drawing, found)));
    const maps = [truth, map].flatMap((found, i) => (found ? [[found, decoded[i]]] : []));
    const size = maps[0][1];
    // Both in the range of the first, so that a colour means the same in both.
    const canvases = maps.map(([, values]) => this.overlay(drawing, maps[0][0], values, photo, painters));
    const stack = element("div", { class: "stack" }, ...canvases);
    const compare = element("figure", { class: "compare" }, stack);
    const names = map && truth ? ["Truth", answer.label] : [truth ? "Truth" : answer.label];
    compare.prepend(element("figcaption", { class: "ends" }, ...names.map((name) => element("b", {}, name))));
    if (canvases.length > 1) compare.append(this.slider(drawing, stack, canvases[1]));
    compare.append(readout, drawing.legend(maps[0][0], maps.map(([, values]) => values), () => this.repaint()));
    const side = element("div", { class: "side" });
    if (truth && map) {
      const [canvas, summary] = this.error(drawing, ...decoded);
      side.append(element("figure", {}, element("figcaption", {}, `Error, ${summary}`),
        element("div", { class: "stack" }, canvas), drawing.errorLegend()));
      this.tell(canvas, drawing, size, decoded, readout);
    }
    if (drawing.overlaid) {
      const copy = element("img", { src: photo.src, alt: "The image" });
      side.append(element("figure", {}, element("figcaption", {}, "Image"), element("div", { class: "stack" }, copy)));
    }
    this.tell(stack, drawing, size, decoded, readout);
    return element("article", { class: "task", "data-task": drawing.name }, element("h3", {}, drawing.title),
      drawing.note && element("p", { class: "note" }, drawing.note),
      element("div", { class: "views" }, compare, side));
  }

  /** A canvas with the error of an answer, and the error in words. */
  error(drawing, truth, answer) {
    const canvas = element("canvas", {});
    const { colourOf, summary } = drawing.error(truth.values, answer.values);
    paint(canvas, truth, colourOf);
    return [canvas, summary];
  }

  /** The range input that moves the edge between truth (left) and answer; dragging on the picture does the same. */
  slider({ name, title }, stack, over) {
    const divider = element("i", { class: "divider" });
    const input = element("input", { type: "range", min: 0, max: 100, value: this.split, "data-key": `${name} split`,
      "aria-label": `Edge between truth and answer, ${title}`, oninput: () => move() });
    const move = () => {
      this.split = Number(input.value);
      over.style.clipPath = `inset(0 0 0 ${this.split}%)`;
      divider.style.left = `${this.split}%`;
    };
    const drag = (event) => {
      if (!event.buttons) return;
      const { left, width } = stack.getBoundingClientRect();
      input.value = Math.round((100 * (event.clientX - left)) / width);
      move();
    };
    element(stack, { onpointerdown: drag, onpointermove: drag }, divider);
    move();
    return input;
  }

  /** Tells truth and answer of the pixel that is pointed at. */
  tell(node, drawing, { width, height }, [truth, answer], readout) {
    const point = (event) => {
      const box = node.getBoundingClientRect();
      const column = Math.min(width - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * width)));
      const row = Math.min(height - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * height)));
      const [t, a] = [truth, answer].map((found) => found?.values[row * width + column]);
      const words = [];
      if (truth) words.push(`truth ${drawing.word(t)}`);
      if (answer) words.push(`answer ${drawing.word(a)}${truth ? drawing.difference(t, a) : ""}`);
      readout.textContent = words.join(", ");
    };
    element(node, { onpointermove: point, onpointerdown: point });
  }

  /** The scores of this picture, a row for each run. */
  scores(picture, shown) {
    if (!GALLERY.metrics.length) return "";
    const arrows = { higher: "\u00a0\u2191", lower: "\u00a0\u2193", "": "" };
    const table = element("table", { class: "sortable" },
      element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Run"),
        ...GALLERY.metrics.map(({ label, better }) =>
          element("th", { scope: "col", class: "n" }, label + arrows[better])))),
      element("tbody", {}, ...picture.answers.map(({ label, scores }) => {
        const choose = element("button", { type: "button", "data-key": `run ${label}`, onclick: () => {
          this.select.value = label;
          this.show({ label });
        } }, label);
        return element("tr", { class: label === shown?.label ? "chosen" : "" },
          element("th", { scope: "row" }, picture.answers.length > 1 ? choose : label),
          ...scores.map(([text, value]) =>
            element("td", { class: "n", ...(value === null ? {} : { "data-value": value }) }, text)));
      })));
    makeSortable(table, this.sorted);
    return element("article", { class: "task" }, element("h3", {}, "Scores of this image"),
      element("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Scores of this image" }, table));
  }

  /** Every run's answers and errors under the truth. */
  async all(picture, photo, painters) {
    const first = [this.cell("Image", element("img", { src: photo.src, alt: "The image" }))];
    const rows = picture.answers.map(() => []);
    const readouts = picture.answers.map(() => element("output", {}));
    for (const drawing of this.drawings) {
      const { name, title } = drawing;
      const truth = picture.truth[name];
      const range = truth || picture.answers.find(({ maps }) => maps[name])?.maps[name];
      const known = truth && (await decode(drawing, truth));
      if (known) first.push(this.cell(`${title}, truth`, this.overlay(drawing, range, known, photo, painters)));
      for (const [i, { maps }] of picture.answers.entries()) {
        if (!maps[name]) {
          // As wide as an answer, and the error beside it where there is a truth.
          const attributes = known ? { class: "none" } : {};
          if (range) rows[i].push(element("figure", attributes, element("figcaption", {}, `${title}: no answer`)));
          continue;
        }
        const answer = await decode(drawing, maps[name]);
        const canvas = this.overlay(drawing, range, answer, photo, painters);
        rows[i].push(this.cell(title, canvas));
        this.tell(canvas, drawing, answer, [known, answer], readouts[i]);
        if (!known) continue;
        const [error, summary] = this.error(drawing, known, answer);
        this.tell(error, drawing, answer, [known, answer], readouts[i]);
        rows[i].push(this.cell(summary, error));
      }
    }
    const row = (heading, cells) =>
      element("article", { class: "row" }, heading, element("div", { class: "cells" }, ...cells));
    const total = (scores) => GALLERY.metrics.flatMap(({ leading, label }, i) =>
      leading ? [" ", element("span", {}, `${label} ${scores[i][0]}`)] : []);
    return [
      row(element("h4", {}, "Image and truth"), first),
      ...picture.answers.map(({ label, scores }, i) => row(element("h4", {}, label, ...total(scores), " ", readouts[i]), rows[i])),
    ];
  }

  cell(caption, picture) {
    return element("figure", {}, picture, element("figcaption", {}, caption));
  }
}

if (GALLERY) document.querySelectorAll(".gallery").forEach((node) => new Gallery(node));
