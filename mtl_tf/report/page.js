"use strict";
// The script of the page, without any library: helpers and sortable tables here, then charts.js, drawings.js
// and gallery.js.

const DATA = JSON.parse(document.getElementById("page-data").textContent);
const MISSING = "\u2013";

/** An element with attributes ("on..." are listeners, true and false set and remove) and children. */
function element(tag, attributes = {}, ...children) {
  const made = tag instanceof Element ? tag : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean" && !name.startsWith("aria-")) made.toggleAttribute(name, value);
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Buttons of which one is pressed; `choose` gets the value of the one that is clicked. */
function segments(label, options, chosen, choose) {
  const buttons = options.map(([value, text]) =>
    element("button", {
      type: "button",
      "aria-pressed": value === chosen,
      onclick: (event) => {
        buttons.forEach((button) => button.setAttribute("aria-pressed", button === event.currentTarget));
        choose(value);
      },
    }, text));
  return element("div", { class: "segments", role: "group", "aria-label": label }, ...buttons);
}

/** A number in few characters: four significant digits, powers of ten where it is tiny or huge. */
function short(value) {
  if (value && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) {
    const [mantissa, exponent] = value.toExponential(1).split("e");
    return `${Number(mantissa)}e${Number(exponent)}`;
  }
  return Math.abs(value) >= 1000 ? String(Math.round(value)) : String(Number(value.toPrecision(4)));
}

// === Sortable tables ===

/** Compares two cells of a column; what has no number (or no text) comes last in both directions. */
function compareCells(numeric, sign) {
  const collator = new Intl.Collator("en", { numeric: true });
  const keyOf = (cell) => {
    if (numeric) return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
    const text = cell.textContent.trim();
    return text === "" || text === MISSING ? null : text;
  };
  return (a, b) => {
    const [left, right] = [keyOf(a), keyOf(b)];
    if (left === null || right === null) return (left === null) - (right === null);
    return sign * (numeric ? left - right : collator.compare(left, right));
  };
}

/** Makes the heads of a table buttons: ascending, descending, then the order it had.
 *  `memory` keeps the choice for the table that takes this one's place. */
function makeSortable(table, memory = {}) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const sort = () => {
    heads.forEach((head, place) => head.setAttribute("aria-sort", place === memory.place ? memory.order : "none"));
    const rows = [...original];
    if (memory.place !== undefined) {
      const numeric = original.some((row) => row.cells[memory.place].dataset.value !== undefined);
      const compare = compareCells(numeric, memory.order === "ascending" ? 1 : -1);
      rows.sort((a, b) => compare(a.cells[memory.place], b.cells[memory.place]));
    }
    body.append(...rows);
  };
  heads.forEach((head, place) => {
    const choose = () => {
      if (memory.place !== place) Object.assign(memory, { place, order: "ascending" });
      else if (memory.order === "ascending") memory.order = "descending";
      else memory.place = undefined;
      sort();
    };
    head.append(element("button", { type: "button", title: "Sort", onclick: choose }, ...head.childNodes));
  });
  sort();
}

document.querySelectorAll("table.sortable").forEach((table) => makeSortable(table));
