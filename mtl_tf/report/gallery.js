// === Gallery: maps and their colours ===

const UNLABELLED = 255;

/** [r, g, b] of every three bytes of a hexadecimal text. */
function colours(hex) {
  const bytes = hex.replace("#", "").match(/../g).map((pair) => parseInt(pair, 16));
  return Array.from({ length: bytes.length / 3 }, (_, i) => bytes.slice(3 * i, 3 * i + 3));
}

/** Pixels of a picture in the page, drawn at its own size or a given one; kept, for overlays need them often. */
function pixels(image, width = image.naturalWidth, height = image.naturalHeight) {
  if (image.pixels?.width === width && image.pixels?.height === height) return image.pixels;
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return (image.pixels = context.getImageData(0, 0, width, height));
}

/** A map as {width, height, values}: class ids, or metres with 0 for unknown. Decoded once. */
function decode(map) {
  map.decoded ??= (async () => {
    const image = new Image();
    image.src = map.uri;
    await image.decode();
    const { width, height, data } = pixels(image);
    const values = new Float32Array(width * height);
    for (let i = 0; i < values.length; i++) {
      values[i] = map.step ? (256 * data[4 * i] + data[4 * i + 1]) * map.step : data[4 * i];
    }
    return { width, height, values };
  })();
  return map.decoded;
}

/** Fills a canvas with the colour of each pixel; no colour is checkered, one of four numbers has an opacity. */
function paint(canvas, { width, height }, colourOf, photo = null) {
  element(canvas, { width, height });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const { data } = picture;
  const under = photo && pixels(photo, width, height).data;
  const side = Math.max(2, Math.floor(Math.max(width, height) / 48));
  const greys = GALLERY.checker.map((grey) => [grey, grey, grey]);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const colour = colourOf(i) || greys[(Math.floor(x / side) + Math.floor(y / side)) % 2];
      const opacity = under && colour.length > 3 ? colour[3] : 1;
      for (let k = 0; k < 3; k++) {
        data[4 * i + k] = opacity < 1 ? opacity * colour[k] + (1 - opacity) * under[4 * i + k] : colour[k];
      }
      data[4 * i + 3] = 255;
    }
  }
  context.putImageData(picture, 0, 0);
}

const GALLERY = DATA.gallery;

/** What the two kinds of tasks do differently: colours of a map and of an error, words for a pixel. */
const KINDS = {
  labels: {
    title: "Segmentation",
    prepare(task) {
      task.colours = task.palette.map((hex) => colours(hex)[0]);
      task.hidden = new Set();
    },
    colour(task, map, { values }, opacity) {
      // A hidden class shows the photograph alone.
      const table = task.colours.map((colour, id) => [...colour, task.hidden.has(id) ? 0 : opacity]);
      return (i) => table[values[i]];
    },
    photo: (photo) => photo,
    error(task, truth, answer) {
      const [right, wrong] = [colours(GALLERY.right)[0], colours(GALLERY.wrong)[0]];
      return (i) => (truth[i] === UNLABELLED ? null : truth[i] === answer[i] ? right : wrong);
    },
    summary(truth, answer) {
      const known = [...truth.keys()].filter((i) => truth[i] !== UNLABELLED);
      const wrong = known.filter((i) => truth[i] !== answer[i]).length;
      return known.length ? `wrong pixels: ${((100 * wrong) / known.length).toFixed(1)} %` : "no labels";
    },
    word: (task, value) => task.classes[value] ?? "no label",
    difference: () => "",
  },
  depth: {
    title: "Depth",
    prepare() {},
    colour(task, { low, high }, { values }) {
      const table = colours(GALLERY.depthColours);
      return (i) => (values[i] > 0 ? table[Math.round(255 * logPlace(values[i], low, high))] : null);
    },
    photo: () => null,
    error(task, truth, answer) {
      const table = colours(GALLERY.errorColours);
      return (i) => {
        if (!(truth[i] > 0 && answer[i] > 0)) return null;
        return table[Math.round(255 * Math.min(1, Math.abs(Math.log(answer[i] / truth[i])) / GALLERY.largestError))];
      };
    },
    summary(truth, answer) {
      const known = [...truth.keys()].filter((i) => truth[i] > 0 && answer[i] > 0);
      const sum = known.reduce((total, i) => total + Math.abs(Math.log(answer[i] / truth[i])), 0);
      return known.length ? `|ln z \u2212 ln z*|: mean ${(sum / known.length).toFixed(3)}` : "no depth";
    },
    word: (task, value) => (value > 0 ? `${Number(value.toPrecision(3))}${task.unit}` : "no depth"),
    difference: (truth, answer) => (truth > 0 && answer > 0 ? ` (\u00d7${(answer / truth).toFixed(2)})` : ""),
  },
};

/** Where metres stand between low and high, 0..1 on a log scale. */
function logPlace(metres, low, high) {
  return low < high ? Math.min(1, Math.max(0, Math.log(metres / low) / Math.log(high / low))) : 0.5;
}

// === Gallery: the viewer ===

class Gallery {
  constructor(node) {
    this.viewer = node.querySelector(".viewer");
    this.thumbs = [...node.querySelectorAll(".thumb")];
    Object.assign(this, { picture: 0, label: null, view: "one", opacity: 0.7, split: 50, drawing: 0, sorted: {} });
    this.painters = [];
    GALLERY.tasks.forEach((task) => KINDS[task.kind].prepare(task));
    this.thumbs.forEach((thumb, i) => thumb.addEventListener("click", () => this.show({ picture: i })));
    const labels = [...new Set(GALLERY.pictures.flatMap(({ answers }) => answers.map(({ label }) => label)))];
    this.label = labels[0];
    this.select = element("select", { onchange: () => this.show({ label: this.select.value }) },
      ...labels.map((label) => element("option", { value: label }, label)));
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
        ...(GALLERY.tasks.some(({ kind }) => kind === "labels")
          ? [element("label", {}, "Colours over the image", opacity)] : [])),
      this.body);
    this.show({});
  }

  /** Changes what is shown and draws it; a later call overtakes one that still decodes. */
  async show(changes) {
    Object.assign(this, changes);
    this.thumbs.forEach((thumb, i) => thumb.setAttribute("aria-pressed", i === this.picture));
    const drawing = ++this.drawing;
    const picture = GALLERY.pictures[this.picture];
    const photo = this.thumbs[this.picture].querySelector("img");
    await photo.decode();
    const painters = [];
    const build = this.view === "one" ? this.one : this.all;
    const parts = await build.call(this, picture, photo, painters);
    if (drawing !== this.drawing) return;
    this.painters = painters;
    this.repaint();
    const focused = document.activeElement?.dataset?.key;
    this.body.replaceChildren(...parts);
    // The drawing replaces the controls in it: whoever uses the keyboard goes on where they were.
    if (focused) this.body.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    this.viewer.dataset.drawn = drawing;
  }

  /** Draws the overlays again: classes were hidden or shown, or their opacity changed. */
  repaint() {
    this.painters.forEach((draw) => draw());
  }

  /** A canvas with a map, which `repaint` draws; `range` is the map whose range depth is coloured in. */
  overlay(task, range, values, photo, painters) {
    const kind = KINDS[task.kind];
    const canvas = element("canvas", { width: values.width, height: values.height });
    painters.push(() => paint(canvas, values, kind.colour(task, range, values, this.opacity), kind.photo(photo)));
    return canvas;
  }

  async one(picture, photo, painters) {
    const answer = picture.answers.find(({ label }) => label === this.label) || picture.answers[0];
    const parts = [];
    for (const task of GALLERY.tasks) {
      const [truth, map] = [picture.truth[task.name], answer?.maps[task.name]];
      if (truth || map) parts.push(await this.task(task, truth, map, answer, photo, painters));
    }
    parts.push(this.scores(picture, answer));
    return parts;
  }

  /** Truth and answer over one another, and the error beside them. */
  async task(task, truth, map, answer, photo, painters) {
    const kind = KINDS[task.kind];
    const readout = element("output", { class: "readout" }, map ? "" : "This run has no answer for this task.");
    const decoded = await Promise.all([truth, map].map((found) => found && decode(found)));
    const maps = [truth, map].flatMap((found, i) => (found ? [[found, decoded[i]]] : []));
    const size = maps[0][1];
    // Both in the range of the first, so that a colour means the same metres in both.
    const canvases = maps.map(([, values]) => this.overlay(task, maps[0][0], values, photo, painters));
    const bar = task.kind === "depth" ? depthBar(maps[0][0]) : "";
    const stack = element("div", { class: "stack" }, ...canvases);
    const compare = element("figure", { class: "compare" }, stack);
    const names = map && truth ? ["Truth", answer.label] : [truth ? "Truth" : answer.label];
    compare.prepend(element("figcaption", { class: "ends" }, ...names.map((name) => element("b", {}, name))));
    if (canvases.length > 1) compare.append(this.slider(task, stack, canvases[1]));
    compare.append(bar, readout, task.kind === "labels" ? this.chips(task, decoded) : "");
    const side = element("div", { class: "side" });
    if (truth && map) {
      const error = element("canvas", {});
      const values = decoded.map((found) => found.values);
      paint(error, size, kind.error(task, ...values));
      side.append(element("figure", {}, element("figcaption", {}, `Error, ${kind.summary(...values)}`),
        element("div", { class: "stack" }, error), task.kind === "depth" ? errorBar() : ""));
      this.tell(error, task, size, decoded, readout);
    }
    if (task.kind === "labels") {
      const copy = element("img", { src: photo.src, alt: "The image" });
      side.append(element("figure", {}, element("figcaption", {}, "Image"), element("div", { class: "stack" }, copy)));
    }
    this.tell(stack, task, size, decoded, readout);
    return element("article", { class: "task", "data-task": task.name }, element("h3", {}, kind.title),
      element("div", { class: "views" }, compare, side));
  }

  /** The range input that moves the edge between truth (left) and answer; dragging on the picture does the same. */
  slider(task, stack, over) {
    const divider = element("i", { class: "divider" });
    const input = element("input", { type: "range", min: 0, max: 100, value: this.split, "data-key": `${task.name} split`,
      "aria-label": `Edge between truth and answer, ${KINDS[task.kind].title}`, oninput: () => move() });
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
  tell(node, task, { width, height }, [truth, answer], readout) {
    const kind = KINDS[task.kind];
    const point = (event) => {
      const box = node.getBoundingClientRect();
      const column = Math.min(width - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * width)));
      const row = Math.min(height - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * height)));
      const [t, a] = [truth, answer].map((found) => found?.values[row * width + column]);
      const words = [];
      if (truth) words.push(`truth ${kind.word(task, t)}`);
      if (answer) words.push(`answer ${kind.word(task, a)}${truth ? kind.difference(t, a) : ""}`);
      readout.textContent = words.join(", ");
    };
    element(node, { onpointermove: point, onpointerdown: point });
  }

  /** A button for each class that hides and shows it. */
  chips(task, decoded) {
    const present = new Set(decoded.flatMap((found) => (found ? [...new Set(found.values)] : [])));
    const update = () => {
      chips.forEach((chip, id) => chip.setAttribute("aria-pressed", !task.hidden.has(id)));
      this.repaint();
    };
    const chips = task.classes.map((name, id) => {
      const swatch = element("i", { class: "swatch" });
      swatch.style.background = task.palette[id];
      return element("button", { type: "button", "aria-pressed": !task.hidden.has(id),
        class: present.has(id) ? "" : "absent", onclick: () => {
          if (!task.hidden.delete(id)) task.hidden.add(id);
          update();
        } }, swatch, name);
    });
    const every = (text, hidden) => element("button", { type: "button", class: "all", onclick: () => {
      task.hidden = new Set(hidden);
      update();
    } }, text);
    return element("div", { class: "chips", role: "group", "aria-label": "Classes shown" }, ...chips,
      every("All", []), every("None", task.classes.keys()));
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
    for (const task of GALLERY.tasks) {
      const kind = KINDS[task.kind];
      const truth = picture.truth[task.name];
      const range = truth || picture.answers.find(({ maps }) => maps[task.name])?.maps[task.name];
      const known = truth && (await decode(truth));
      if (known) first.push(this.cell(`${kind.title}, truth`, this.overlay(task, range, known, photo, painters)));
      for (const [i, { maps }] of picture.answers.entries()) {
        if (!maps[task.name]) {
          rows[i].push(element("figure", { class: "none" }, element("figcaption", {}, `No ${kind.title.toLowerCase()}`)));
          continue;
        }
        const answer = await decode(maps[task.name]);
        const canvas = this.overlay(task, range, answer, photo, painters);
        rows[i].push(this.cell(kind.title, canvas));
        this.tell(canvas, task, answer, [known, answer], readouts[i]);
        if (!known) continue;
        const error = element("canvas", {});
        paint(error, known, kind.error(task, known.values, answer.values));
        this.tell(error, task, answer, [known, answer], readouts[i]);
        rows[i].push(this.cell(kind.summary(known.values, answer.values), error));
      }
    }
    const row = (heading, cells) =>
      element("article", { class: "row" }, heading, element("div", { class: "cells" }, ...cells));
    const total = (scores) => GALLERY.metrics.flatMap(({ name, label }, i) =>
      ["semseg.miou", "depth.si_log_rmse"].includes(name) ? [" ", element("span", {}, `${label} ${scores[i][0]}`)] : []);
    return [
      row(element("h4", {}, "Image and truth"), first),
      ...picture.answers.map(({ label, scores }, i) => row(element("h4", {}, label, ...total(scores), " ", readouts[i]), rows[i])),
    ];
  }

  cell(caption, picture) {
    return element("figure", {}, picture, element("figcaption", {}, caption));
  }
}

/** A strip of colours with words at places 0..1 under it. */
function colourBar(table, ticks) {
  const canvas = element("canvas", {});
  paint(canvas, { width: table.length, height: 1 }, (i) => table[i]);
  const words = ticks.map(([place, text]) => {
    const word = element("span", {}, text);
    word.style.left = `${100 * place}%`;
    return word;
  });
  return element("div", { class: "bar" }, canvas, ...words);
}

function depthBar({ ticks }) {
  return colourBar(colours(GALLERY.depthColours), ticks);
}

function errorBar() {
  const factors = [1, 1.25, 1.5, Math.exp(GALLERY.largestError)];
  const ticks = factors.map((factor) => [Math.log(factor) / GALLERY.largestError, `\u00d7${Number(factor.toFixed(2))}`]);
  return colourBar(colours(GALLERY.errorColours), ticks);
}

if (GALLERY) document.querySelectorAll(".gallery").forEach((node) => new Gallery(node));
