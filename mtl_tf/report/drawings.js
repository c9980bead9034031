// === Gallery: how maps are drawn ===

const GALLERY = DATA.gallery;

/** [r, g, b] of every three bytes of a hexadecimal text. */
function colours(hex) {
  const bytes = hex.replace("#", "").match(/../g).map((pair) => parseInt(pair, 16));
  return Array.from({ length: bytes.length / 3 }, (_, i) => bytes.slice(3 * i, 3 * i + 3));
}

/** The 256 colours of a scale of the page. */
const scale = (name) => colours(GALLERY.scales[name]);

/** The colour of a verdict on a pixel. */
const verdict = (name) => colours(GALLERY.verdicts[name])[0];

/** The colour at a place 0..1 of a scale. */
const at = (table, place) => table[Math.round(255 * Math.min(1, Math.max(0, place)))];

/** What is drawn and said of the maps of one task. A pixel of a map is one number, its value.
 *  A kind of drawing is a subclass and its row in `KINDS`; "kind" of `Task.page` names it. */
class Drawing {
  /** Whether the colours lie over the photograph. */
  overlaid = false;
  /** Stands under the heading. */
  note = "";
  /** What is said of a pixel, or a map, without a label. */
  nothing = "no label";
  /** The error, and those beyond, with the last colour of the scale of errors. */
  largest = 1;

  /** Takes over what the task says of itself: name, title, and what its kind needs. */
  constructor(task) {
    Object.assign(this, task);
  }

  /** The value of a pixel of the picture that a map comes as. */
  value(map, red, green, blue) {
    return red;
  }

  /** Value -> colour, null where there is none; of four numbers the last is the opacity over the photograph.
   *  `map` is the one that others are compared with. */
  colours(map, opacity) {
    throw new Error("not implemented");
  }

  /** Whether the error of a pixel is known. */
  known(truth, answer) {
    throw new Error("not implemented");
  }

  /** How wrong an answer is. */
  off(truth, answer) {
    throw new Error("not implemented");
  }

  /** (how wrong, truth, answer) -> colour in the error map. */
  verdicts() {
    const table = scale("error");
    return (off) => at(table, off / this.largest);
  }

  /** The mean of how wrong the pixels are, in words. */
  told(mean) {
    throw new Error("not implemented");
  }

  /** A value in words. */
  word(value) {
    throw new Error("not implemented");
  }

  /** How an answer differs from the truth, after the words for both. */
  difference(truth, answer) {
    return "";
  }

  /** What explains the colours of the maps: an element. `decoded` are the maps shown, `repaint` draws them again. */
  legend(map, decoded, repaint) {
    return "";
  }

  /** What explains the colours of the error. */
  errorLegend() {
    return "";
  }

  /** The error map of two arrays of values: pixel -> colour, and a summary in words. */
  error(truth, answer) {
    const colourOf = this.verdicts();
    let [sum, count] = [0, 0];
    const shown = Array.from(truth, (value, i) => {
      if (!this.known(value, answer[i])) return null;
      const off = this.off(value, answer[i]);
      sum += off;
      count += 1;
      return colourOf(off, value, answer[i]);
    });
    return { colourOf: (i) => shown[i], summary: count ? this.told(sum / count) : this.nothing };
  }
}

/** In the pixels of maps of classes and of probabilities. */
const UNLABELLED = 255;

/** A class for every pixel; values are ids. */
class ClassMap extends Drawing {
  overlaid = true;
  hidden = new Set();

  colours(map, opacity) {
    // A hidden class shows the photograph alone.
    const table = this.palette.map((hex, id) => [...colours(hex)[0], this.hidden.has(id) ? 0 : opacity]);
    return (id) => table[id];
  }

  known(truth) {
    return truth !== UNLABELLED;
  }

  off(truth, answer) {
    return truth === answer ? 0 : 1;
  }

  verdicts() {
    const both = [verdict("right"), verdict("wrong")];
    return (off) => both[off];
  }

  told(mean) {
    return `wrong pixels: ${(100 * mean).toFixed(1)} %`;
  }

  word(id) {
    return this.classes[id] ?? this.nothing;
  }

  /** A button for each class that hides and shows it. */
  legend(map, decoded, repaint) {
    const present = new Set(decoded.flatMap(({ values }) => [...new Set(values)]));
    const update = () => {
      chips.forEach((chip, id) => chip.setAttribute("aria-pressed", !this.hidden.has(id)));
      repaint();
    };
    const chips = this.classes.map((name, id) =>
      element("button", { type: "button", "aria-pressed": !this.hidden.has(id), class: present.has(id) ? "" : "absent",
        onclick: () => {
          if (!this.hidden.delete(id)) this.hidden.add(id);
          update();
        } }, swatch(this.palette[id]), name));
    const every = (text, hidden) => element("button", { type: "button", class: "all", onclick: () => {
      this.hidden = new Set(hidden);
      update();
    } }, text);
    return element("div", { class: "chips", role: "group", "aria-label": "Classes shown" }, ...chips,
      every("All", []), every("None", this.classes.keys()));
  }
}

/** A distance for every pixel; values are metres, 0 where there is none. */
class DepthMap extends Drawing {
  note = "On a log scale over the range of the true depth.";
  nothing = "no depth";

  value({ step }, red, green) {
    return (256 * red + green) * step;
  }

  colours({ low, high }) {
    const table = scale("depth");
    const place = (metres) => (low < high ? Math.log(metres / low) / Math.log(high / low) : 0.5);
    return (metres) => (metres > 0 ? at(table, place(metres)) : null);
  }

  known(truth, answer) {
    return truth > 0 && answer > 0;
  }

  off(truth, answer) {
    return Math.abs(Math.log(answer / truth));
  }

  told(mean) {
    return `|ln z \u2212 ln z*|: mean ${mean.toFixed(3)}`;
  }

  word(metres) {
    return metres > 0 ? `${Number(metres.toPrecision(3))}${this.unit}` : this.nothing;
  }

  difference(truth, answer) {
    return this.known(truth, answer) ? ` (\u00d7${(answer / truth).toFixed(2)})` : "";
  }

  legend({ ticks }) {
    return colourBar(scale("depth"), ticks);
  }

  errorLegend() {
    const factors = [1, 1.25, 1.5, Math.exp(this.largest)];
    const ticks = factors.map((factor) => [Math.log(factor) / this.largest, `\u00d7${Number(factor.toFixed(2))}`]);
    return colourBar(scale("error"), ticks);
  }
}

/** A number for every pixel; values are numbers, NaN where there is none. */
class NumberMap extends Drawing {
  note = "On a linear scale over the range of the truth.";

  value({ low, high }, red, green) {
    const code = 256 * red + green;
    return code ? low + ((code - 1) / 65534) * (high - low) : NaN;
  }

  colours({ low, high }) {
    const table = scale("numbers");
    return (number) => (Number.isNaN(number) ? null : at(table, (number - low) / (high - low)));
  }

  known(truth, answer) {
    return !Number.isNaN(truth) && !Number.isNaN(answer);
  }

  off(truth, answer) {
    return Math.abs(answer - truth);
  }

  told(mean) {
    return `mean ${this.word(mean)}`;
  }

  word(number) {
    return Number.isNaN(number) ? this.nothing : `${Number(number.toPrecision(3))}${this.unit}`;
  }

  difference(truth, answer) {
    return this.known(truth, answer) ? `, off by ${this.word(this.off(truth, answer))}` : "";
  }

  legend({ ticks }) {
    return colourBar(scale("numbers"), ticks);
  }

  errorLegend() {
    const ticks = [0, 0.25, 0.5, 0.75, 1].map((place) => [place, this.word(place * this.largest)]);
    return colourBar(scale("error"), ticks);
  }
}

/** A direction for every pixel; values are the three bytes of its colour in one number, 0 where there is none. */
class VectorMap extends Drawing {
  largest = 45; // degrees

  value(map, red, green, blue) {
    return 65536 * red + 256 * green + blue;
  }

  colours() {
    return (value) => (value ? bytes(value) : null);
  }

  known(truth, answer) {
    return truth > 0 && answer > 0;
  }

  /** Degrees between the two. */
  off(truth, answer) {
    if (truth === answer) return 0;
    let [product, ours, theirs] = [0, 0, 0];
    for (const shift of [16, 8, 0]) {
      const [a, b] = [part((truth >> shift) & 255), part((answer >> shift) & 255)];
      product += a * b;
      ours += a * a;
      theirs += b * b;
    }
    return (Math.acos(Math.min(1, Math.max(-1, product / Math.sqrt(ours * theirs)))) * 180) / Math.PI;
  }

  told(mean) {
    return `mean angle ${mean.toFixed(1)}\u00b0`;
  }

  word(value) {
    if (!value) return this.nothing;
    const parts = bytes(value).map(part);
    const length = Math.hypot(...parts);
    return `(${parts.map((each) => (each / length).toFixed(2).replace(/^-(0\.00)$/, "$1")).join(", ")})`;
  }

  difference(truth, answer) {
    return this.known(truth, answer) ? `, ${this.off(truth, answer).toFixed(1)}\u00b0 apart` : "";
  }

  legend() {
    return directions();
  }

  errorLegend() {
    // The usual thresholds of the share of good pixels are among the ticks.
    const ticks = [0, 11.25, 22.5, 30, this.largest].map((angle) => [angle / this.largest, `${angle}\u00b0`]);
    return colourBar(scale("error"), ticks);
  }
}

/** The three bytes of a value. */
const bytes = (value) => [value >> 16, (value >> 8) & 255, value & 255];

/** A byte as a part -1..1 of a direction. */
const part = (byte) => (2 * byte) / 255 - 1;

/** Yes or no for every pixel, and how sure of it; values are 254 times the probability. */
class ProbabilityMap extends Drawing {
  colours() {
    const table = scale("probability");
    return (value) => (value === UNLABELLED ? null : at(table, value / 254));
  }

  known(truth, answer) {
    return truth !== UNLABELLED && answer !== UNLABELLED;
  }

  /** Whether yes is said of a pixel: its probability is at least a half. */
  yes(value) {
    return value >= 127;
  }

  off(truth, answer) {
    return this.yes(truth) === this.yes(answer) ? 0 : 1;
  }

  verdicts() {
    const [right, found, missed, wrong] = ["right", "found", "missed", "false"].map(verdict);
    return (off, truth) => (off ? (this.yes(truth) ? missed : wrong) : this.yes(truth) ? found : right);
  }

  told(mean) {
    return `wrong pixels: ${(100 * mean).toFixed(1)} %`;
  }

  word(value) {
    return value === UNLABELLED ? this.nothing : (value / 254).toFixed(2);
  }

  legend() {
    return colourBar(scale("probability"), [0, 0.25, 0.5, 0.75, 1].map((place) => [place, String(place)]));
  }

  errorLegend() {
    const names = ["found", "missed", "false"];
    return element("ul", { class: "legend" }, element("li", {}, "Yes from 0.5:"),
      ...names.map((name) => element("li", {}, swatch(GALLERY.verdicts[name]), name)));
  }
}

/** An instance for every pixel; values are 65536 times the class (255: not known) and a number, 0 where there is none. */
class InstanceMap extends Drawing {
  overlaid = true;
  note = "A colour for each; truth and answer number them on their own.";

  value(map, red, green, blue) {
    return 65536 * red + 256 * green + blue;
  }

  number(value) {
    return value & 0xffff;
  }

  colours(map, opacity) {
    return (value) => {
      if (!this.labelled(value)) return null;
      const number = this.number(value);
      return number ? [...hue(number), opacity] : [0, 0, 0, 0];
    };
  }

  labelled(value) {
    return this.number(value) !== 65535;
  }

  word(value) {
    if (!this.labelled(value)) return this.nothing;
    const [name, number] = [this.classes[value >> 16], this.number(value)];
    return number ? `${name ?? "instance"} ${number}` : (name ?? "no instance");
  }

  /** Whose IoU is more than a half: number in the truth -> number in the answer. */
  pairs(truth, answer) {
    const [ours, theirs, both] = [new Map(), new Map(), new Map()];
    const count = (found, key) => found.set(key, (found.get(key) ?? 0) + 1);
    truth.forEach((value, i) => {
      if (!this.labelled(value)) return;
      const [one, other] = [this.number(value), this.labelled(answer[i]) ? this.number(answer[i]) : 0];
      if (one) count(ours, one);
      if (other) count(theirs, other);
      if (one && other) count(both, 65536 * one + other);
    });
    const shared = [...both].map(([key, pixels]) => [Math.floor(key / 65536), key % 65536, pixels]);
    const found = shared.filter(([one, other, pixels]) => 2 * pixels > ours.get(one) + theirs.get(other) - pixels);
    return { found: new Map(found), true: ours.size, answered: theirs.size };
  }

  error(truth, answer) {
    const pairs = this.pairs(truth, answer);
    const [right, found, missed, wrong] = ["right", "found", "missed", "false"].map(verdict);
    const colourOf = (i) => {
      if (!this.labelled(truth[i])) return null;
      const [one, other] = [this.number(truth[i]), this.labelled(answer[i]) ? this.number(answer[i]) : 0];
      if (one) return other && pairs.found.get(one) === other ? found : missed;
      return other ? wrong : right;
    };
    const hits = pairs.found.size;
    return { colourOf, summary: `${hits} of ${pairs.true} found, ${pairs.answered - hits} false` };
  }

  errorLegend() {
    const names = ["found", "missed", "false"];
    return element("ul", { class: "legend" }, element("li", {}, "IoU above 0.5:"),
      ...names.map((name) => element("li", {}, swatch(GALLERY.verdicts[name]), name)));
  }
}

/** The colour of an instance by its number, as outlines.py has it: turns of hue by so much are far apart. */
function hue(number) {
  return [0, 2 / 3, 1 / 3].map((turn) => {
    const place = 6 * ((number * 0.6180339887498949 + turn) % 1);
    return 255 * (0.25 + 0.75 * Math.min(1, Math.max(0, Math.abs(place - 3) - 1)));
  });
}

/** Kind of drawing -> what draws it. */
const KINDS = { labels: ClassMap, depth: DepthMap, numbers: NumberMap, vectors: VectorMap, probability: ProbabilityMap,
  instances: InstanceMap };

// === Gallery: parts of a drawing ===

/** Pixels of a picture in the page, drawn at its own size or a given one; kept, for overlays need them often. */
function pixels(image, width = image.naturalWidth, height = image.naturalHeight) {
  if (image.pixels?.width === width && image.pixels?.height === height) return image.pixels;
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, width, height);
  return (image.pixels = context.getImageData(0, 0, width, height));
}

/** A map as {width, height, values}. Decoded once. */
function decode(drawing, map) {
  map.decoded ??= (async () => {
    const image = new Image();
    image.src = map.uri;
    await image.decode();
    const { width, height, data } = pixels(image);
    // Holds the whole numbers of three bytes exactly.
    const values = new Float32Array(width * height);
    for (let i = 0; i < values.length; i++) {
      values[i] = drawing.value(map, data[4 * i], data[4 * i + 1], data[4 * i + 2]);
    }
    return { width, height, values };
  })();
  return map.decoded;
}

/** Fills a canvas with the colour of each pixel; no colour is checkered, one of four numbers has an opacity. */
function paint(canvas, { width, height }, colourOf, photo = null) {
  // Where a map is drawn small, thin lines of it would get lost between the pixels.
  element(canvas, { width, height, class: width > 360 ? "large" : "" });
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

/** A spot of a colour that a legend explains. */
function swatch(colour) {
  const spot = element("i", { class: "swatch" });
  spot.style.background = colour;
  return spot;
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

/** The half sphere that the camera sees, each direction in its colour. */
function directions() {
  const side = 168; // twice the size on the page, for sharp screens
  const canvas = element("canvas", { width: side, height: side, role: "img",
    "aria-label": "Colours of the directions to the right, up, and towards the camera" });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(side, side);
  for (let i = 0; i < side * side; i++) {
    const [x, y] = [(2 * (i % side) + 1) / side - 1, 1 - (2 * Math.floor(i / side) + 1) / side];
    const distance = Math.hypot(x, y);
    const z = Math.sqrt(Math.max(0, 1 - distance * distance));
    [x, y, z].forEach((length, k) => (picture.data[4 * i + k] = (255 * (length + 1)) / 2));
    picture.data[4 * i + 3] = (255 * (1 - distance) * side) / 4; // a soft edge; clamped to 0..255
  }
  context.putImageData(picture, 0, 0);
  const words = [["up", "up"], ["right", "right"], ["centre", "centre: towards the camera"]];
  return element("div", { class: "directions" }, canvas,
    ...words.map(([place, text]) => element("span", { class: place }, text)));
}
