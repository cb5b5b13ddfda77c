// A text, token by token, each on a ground that says how much it surprised the model.
//
// Everything a person typed arrives in `data` and reaches the page through textContent only. Pointing, tapping and the
// arrow keys are answered here without asking the server.

import { find, keep, make, percent, setColours, shownColours, unpack } from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/** @typedef {{ brand: string, surprise: string }} Colours */

/**
 * What Python sends, from `token_strip.message`.
 * @typedef {object} Header
 * @property {string[]} texts Every text of a token or a candidate; they are named by their places here.
 * @property {number[]} breaks Texts that end a line.
 * @property {number[]} blanks Texts that are white space.
 * @property {string[][]} values For each label, the different values.
 * @property {string[]} labels
 * @property {number} count
 * @property {number[]} prompt Texts.
 * @property {number[]} unknown Tokens that the model does not know.
 * @property {string} title
 * @property {number} first The number of the first token.
 * @property {number} much Bits at which the ground has its full colour.
 * @property {number | null} mark A token that is framed.
 * @property {number | null} tallest Pixels from which on the text scrolls.
 * @property {boolean} even Whether it always has that height.
 * @property {{ name: string, count: number } | null} row The strips that show a new text in the same moment.
 * @property {{ label: string, also?: string, none?: string, much?: string, hint?: string }} words
 */

/**
 * `columns`: for each token its text, its hundredths of a bit, the place of its value for each label, then for each
 * candidate its text and its share in ten thousandths.
 * @typedef {Header & Themes<Colours> & { bytes: Uint8Array }} Message
 */

const NONE = 65535; // no candidate
const SHADES = 68; // never quite the full colour, so that the letter on it can be read
const PATIENCE = 1000; // milliseconds that a strip waits for the others of its row
const WAITING = Symbol.for("minigpt.token_strip.waiting");

/**
 * New texts of strips that wait for the others of their row. Streamlit may load this script once for each strip, so
 * the page keeps them and not the script.
 * @type {Map<Strip, Message>}
 */
const waiting = /** @type {any} */ (document)[WAITING] ?? new Map();
/** @type {any} */ (document)[WAITING] = waiting;

/** @param {Component<Uint8Array>} component */
export default function (component) {
  return keep(component, Strip);
}

class Strip {
  /** @type {Message} */
  data;
  /** @type {Uint16Array[]} */
  columns = [];
  /** @type {HTMLElement[]} One for each token. */
  spans = [];
  open = -1;
  isPinned = false;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".strip");
    this.text = find(parent, ".text");
    this.tip = find(parent, ".tip");
    this.legend = find(parent, ".legend");
    const shades = make("style"); // elements of one class share their style, which thousands of own styles do not
    shades.textContent = Array.from(
      { length: SHADES + 1 },
      (_, at) => `.shade-${at} { background: ${ground(at)}; }`,
    ).join("\n");
    this.root.before(shades);
    this.root.addEventListener("pointerover", (event) => this.point(event, this.indexOf(event)));
    this.root.addEventListener("pointerleave", (event) => this.point(event, -1));
    this.root.addEventListener("click", (event) => this.press(this.indexOf(event)));
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("focusout", () => this.unpin());
    this.text.addEventListener("scroll", () => this.unpin());
  }

  /** @param {Component<Uint8Array>} component */
  update({ data: sent }) {
    /** @type {Message} */
    const data = unpack(sent);
    waiting.delete(this);
    if (!data.row || data.row.name === this.data?.row?.name) return this.draw(data);
    waiting.set(this, data);
    const { name, count } = data.row;
    if (rowOf(name).length === count) drawRow(name);
    else setTimeout(drawRow, PATIENCE, name);
  }

  /** @param {Message} data */
  draw(data) {
    const { bytes, count, texts } = data;
    const numbers = new Uint16Array(bytes.slice().buffer); // a copy, as the message may begin at an odd byte
    this.columns = Array.from({ length: count ? numbers.length / count : 0 }, (_, at) =>
      numbers.subarray(at * count, (at + 1) * count),
    );
    this.data = data;
    this.unpin();
    this.text.setAttribute("aria-label", data.words.label);
    this.root.style.setProperty("--tallest", data.tallest ? `${data.tallest}px` : "none");
    this.root.classList.toggle("even", Boolean(data.even));
    this.drawLegend();
    this.colour(); // before the text, as it reads a style, and the browser would compute those of all tokens for that
    const [breaks, blanks, unknown] = [data.breaks, data.blanks, data.unknown].map((places) => new Set(places));
    const content = document.createDocumentFragment();
    for (const place of data.prompt) {
      content.append(...piece(make("span", "prompt", texts[place]), texts[place], breaks.has(place)));
    }
    const [places, bits] = this.columns;
    this.spans = Array.from({ length: count }, (_, index) => {
      const place = places[index];
      const span = make("span", `token shade-${shade(bits[index] / 100 / data.much)}`, texts[place]);
      span.dataset.index = String(index);
      if (blanks.has(place)) span.classList.add("blank");
      if (unknown.has(index)) span.classList.add("unknown");
      if (data.mark === index) span.classList.add("mark");
      content.append(...piece(span, texts[place], breaks.has(place)));
      return span;
    });
    this.text.replaceChildren(content);
  }

  colour() {
    if (!this.data) return;
    const colours = shownColours(this.parent, this.data);
    for (const element of [this.root, this.legend]) setColours(element, colours);
  }

  drawLegend() {
    const { words } = this.data;
    this.legend.replaceChildren();
    if (words.none) {
      const scale = make("span", "scale");
      scale.style.background = `linear-gradient(90deg, ${ground(0)}, ${ground(SHADES)})`;
      this.legend.append(make("span", "", words.none), scale, make("span", "", words.much));
    }
    if (words.hint) this.legend.append(make("span", "hint", words.hint));
  }

  /** @param {Event} event */
  indexOf(event) {
    const span = event.composedPath().find((node) => node instanceof Element && node.classList.contains("token"));
    return span instanceof HTMLElement ? Number(span.dataset.index) : -1;
  }

  /**
   * @param {PointerEvent} event
   * @param {number} index
   */
  point(event, index) {
    if (event.pointerType === "mouse" && !this.isPinned) this.show(index);
  }

  /** @param {number} index */
  press(index) {
    const isAgain = this.isPinned && index === this.open;
    this.isPinned = index >= 0 && !isAgain;
    this.show(isAgain ? -1 : index);
  }

  unpin() {
    this.isPinned = false;
    this.show(-1);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape") return this.unpin();
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -Infinity, End: Infinity };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    const last = this.spans.length - 1;
    if (!step || last < 0) return;
    event.preventDefault();
    const from = this.open < 0 ? (step > 0 ? -1 : last + 1) : this.open;
    this.isPinned = true;
    const to = Math.max(0, Math.min(last, from + step));
    this.spans[to].scrollIntoView({ block: "nearest" });
    this.show(to);
  }

  /** @param {number} index The token whose tip is shown; -1 for none. */
  show(index) {
    this.spans[this.open]?.classList.remove("open");
    this.open = index;
    this.tip.style.display = index < 0 ? "none" : "block";
    if (index < 0) return;
    const span = this.spans[index];
    span.classList.add("open");
    this.fillTip(index);
    const box = span.getClientRects()[0];
    const frame = this.root.getBoundingClientRect();
    const left = Math.min(box.left - frame.left, this.root.clientWidth - this.tip.offsetWidth);
    this.tip.style.left = `${Math.max(0, left)}px`;
    const height = this.tip.offsetHeight + 5;
    const isAbove = box.bottom + height > window.innerHeight && box.top > height;
    this.tip.style.top = `${isAbove ? box.top - frame.top - height : box.bottom - frame.top + 5}px`;
  }

  /** @param {number} index */
  fillTip(index) {
    const { texts, labels, values, words, title, first } = this.data;
    const [place, , ...rest] = this.columns.map((column) => column[index]);
    const tops = rest.slice(labels.length);
    const head = make("div", "title");
    head.append(
      make("bdi", "", texts[place]),
      ` ${title.replace("{number}", (first + index).toLocaleString("en-US"))}`,
    );
    const table = make("table");
    table.append(...labels.map((label, row) => line([make("span", "label", label), values[row][rest[row]]])));
    this.tip.replaceChildren(head, table);
    const candidates = make("table");
    for (let at = 0; at < tops.length && tops[at] !== NONE; at += 2) {
      const share = tops[at + 1] / 10_000;
      const bar = make("span", "bar");
      bar.style.width = `${Math.max(1, Math.round(share * 70))}px`;
      // No candidate's probability is 0; a small one was rounded to 0 on its way here.
      candidates.append(line([make("bdi", "", texts[tops[at]]), percent(share || 0.0001), bar]));
    }
    if (candidates.childElementCount) this.tip.append(make("div", "also", words.also), candidates);
  }
}

// ---- strips of a row

/** @param {string} name */
function rowOf(name) {
  return [...waiting].filter(([, data]) => data.row?.name === name);
}

/** @param {string} name */
function drawRow(name) {
  for (const [strip, data] of rowOf(name)) {
    waiting.delete(strip);
    strip.draw(data);
  }
}

// ---- small helpers

/**
 * Return a token with what lets a line end after it. A line may end at a space and does end at a newline, but both are
 * drawn as signs, at which the browser would not end a line.
 * @param {HTMLElement} span
 * @param {string} text
 * @param {boolean} isBreak
 */
function piece(span, text, isBreak) {
  if (isBreak) return [span, make("br")];
  return text.endsWith("␣") ? [span, make("wbr")] : [span];
}

/** @param {(Node | string)[]} cells */
function line(cells) {
  const row = make("tr");
  for (const content of cells) {
    const cell = make("td");
    cell.append(content);
    row.append(cell);
  }
  return row;
}

/**
 * Return the shade for a share of full surprise, from 0 to SHADES.
 * @param {number} share
 */
function shade(share) {
  return Math.round(SHADES * Math.max(0, Math.min(1, share)));
}

/**
 * Return the ground of a shade.
 * @param {number} strength
 */
function ground(strength) {
  return strength ? `color-mix(in srgb, var(--surprise) ${strength}%, transparent)` : "transparent";
}
