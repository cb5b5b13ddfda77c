// One head as lines between tokens: over the text where the focused token looks, under it which tokens look at it.
//
// A message holds two bytes for each weight (little endian, 0..65535 for 0..1), query by query. Text reaches the page
// through textContent only.

import { find, keep, make, makeSvg, percent, setColours, shownColours, unpack } from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/** @typedef {{ attention: string, query: string }} Colours */

/**
 * What Python packs in `attention_lines.message`.
 * @typedef {object} Header
 * @property {string[]} tokens
 * @property {number} query The token that has the focus while none is pointed at.
 * @property {{ label: string, looks: string, looked: string, nobody: string, hint: string }} words
 */

/** @typedef {Header & Themes<Colours> & { bytes: Uint8Array }} Message */

/** @typedef {[token: number, weight: number]} Weight */

const ABOVE = 130;
const BELOW = 90;
const LARGEST = 1.05; // rem, as in the style sheet
const SMALLEST = 0.8;
const FAINTEST = 0.01; // smaller weights have no line
const OVERVIEW = 0.2; // the lines of tokens without focus are drawn faintly, from this weight on

/** @param {Component<Uint8Array>} component */
export default function (component) {
  return keep(component, Lines);
}

class Lines {
  /** @type {Component<Uint8Array>} The last call. */
  component;
  /** @type {Message} */
  model;
  /** @type {HTMLElement[]} One for each token. */
  spans = [];
  focus = 0;
  /** @type {string | undefined} Where the mouse was last. */
  place;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".lines");
    this.scroll = find(this.root, ".scroll");
    this.sheet = find(this.root, ".sheet");
    this.svg = find(this.root, "svg", SVGSVGElement);
    this.row = find(this.root, ".tokens");
    this.said = find(this.root, ".said");
    this.hint = find(this.root, ".hint");
    this.row.addEventListener("pointermove", (event) => this.isMoved(event) && this.point(this.indexOf(event)));
    this.row.addEventListener("pointerleave", (event) => this.isMoved(event) && this.point(this.model.query));
    this.row.addEventListener("click", (event) => this.press(this.indexOf(event)));
    this.row.addEventListener("keydown", (event) => this.key(event));
    this.observer = new ResizeObserver(() => this.model && this.fit());
  }

  wake() {
    this.observer.observe(this.root);
  }

  rest() {
    this.observer.disconnect();
  }

  /**
   * The answer to a press may come when the reader is already further along, so it moves nothing in the same text.
   * @param {Component<Uint8Array>} component
   */
  update(component) {
    const before = this.model;
    this.model = unpack(component.data);
    this.component = component;
    this.row.setAttribute("aria-label", this.model.words.label);
    this.hint.textContent = this.model.words.hint;
    const isSameText = before && JSON.stringify(before.tokens) === JSON.stringify(this.model.tokens);
    if (!isSameText) this.build();
    if (!isSameText || before.query !== this.model.query) this.focus = this.model.query;
    this.colour();
    this.fit();
  }

  build() {
    this.row.style.marginTop = `${ABOVE}px`;
    this.row.style.marginBottom = `${BELOW}px`;
    this.spans = this.model.tokens.map((text, index) => {
      const span = make("bdi", "", text);
      span.dataset.index = String(index);
      return span;
    });
    this.row.replaceChildren(...this.spans);
  }

  /** Use smaller letters where that saves scrolling, as long as they can be read. */
  fit() {
    this.row.style.fontSize = "";
    const share = (this.scroll.clientWidth - 4) / this.row.offsetWidth;
    if (share < 1) this.row.style.fontSize = `${Math.max(SMALLEST, share * LARGEST)}rem`;
    this.show(this.focus);
    this.reveal();
  }

  colour() {
    if (this.model) setColours(this.root, shownColours(this.parent, this.model));
  }

  /**
   * @param {number} query
   * @param {number} key
   */
  weight(query, key) {
    const { bytes } = this.model;
    const at = 2 * (query * this.spans.length + key);
    return (bytes[at] + 256 * bytes[at + 1]) / 65535;
  }

  /**
   * Return whether a person moved the mouse: the browser also sends an event when the page moves under a resting mouse.
   * @param {PointerEvent} event
   */
  isMoved(event) {
    const place = `${event.clientX},${event.clientY}`;
    const isMoved = event.pointerType === "mouse" && place !== this.place;
    this.place = place;
    return isMoved;
  }

  /** @param {Event} event */
  indexOf(event) {
    const span = event.composedPath().find((node) => node instanceof HTMLElement && node.dataset.index !== undefined);
    return span instanceof HTMLElement ? Number(span.dataset.index) : this.focus;
  }

  /** @param {number} index */
  point(index) {
    if (index !== this.focus) this.show(index);
  }

  /** @param {number} index */
  press(index) {
    this.model.query = index;
    this.show(index);
    this.component.setTriggerValue("focused", index);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return this.press(this.focus);
    }
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!step) return;
    event.preventDefault();
    this.show(Math.max(0, Math.min(this.spans.length - 1, this.focus + step)));
    this.reveal();
  }

  /** Scroll the token with the focus to the middle. */
  reveal() {
    const span = this.spans[this.focus];
    const middle = span.offsetLeft + this.row.offsetLeft + span.offsetWidth / 2;
    this.scroll.scrollLeft = middle - this.scroll.clientWidth / 2;
  }

  /** @param {number} index The token that gets the focus. */
  show(index) {
    this.focus = index;
    /** @type {Weight[]} */
    const looks = this.spans.map((_, other) => [other, this.weight(index, other)]);
    /** @type {Weight[]} */
    const looked = this.spans.map((_, other) => [other, other === index ? 0 : this.weight(other, index)]);
    this.spans.forEach((span, other) => {
      span.classList.toggle("focus", other === index);
      const out = looks[other][1];
      const back = looked[other][1];
      span.style.background = out >= back ? shade("attention", out) : shade("query", back);
    });
    this.draw(index, looks, looked);
    this.said.replaceChildren(
      this.sentence("looks", index, this.model.words.looks, looks),
      this.sentence("looked", index, this.model.words.looked, looked),
    );
  }

  /**
   * @param {number} index
   * @param {Weight[]} looks
   * @param {Weight[]} looked
   */
  draw(index, looks, looked) {
    const box = this.sheet.getBoundingClientRect();
    const middles = this.spans.map((span) => {
      const place = span.getBoundingClientRect();
      return place.left + place.width / 2 - box.left;
    });
    const { top, bottom } = this.row.getBoundingClientRect();
    const over = top - box.top;
    const under = bottom - box.top;
    const lines = [];
    for (let query = 0; query < middles.length; query++) {
      if (query === index) continue;
      for (let key = 0; key < middles.length; key++) {
        const weight = this.weight(query, key);
        if (weight >= OVERVIEW) lines.push(arc(middles[query], middles[key], over, -1, weight / 4, "looks", 0.3));
      }
    }
    for (const [key, weight] of looks) {
      if (weight >= FAINTEST) lines.push(arc(middles[index], middles[key], over, -1, weight, "looks", 1));
    }
    for (const [query, weight] of looked) {
      if (weight >= FAINTEST) lines.push(arc(middles[index], middles[query], under, 1, weight, "looked", 1));
    }
    this.svg.replaceChildren(...lines);
  }

  /**
   * Name the largest weights of one direction.
   * @param {"looks" | "looked"} kind
   * @param {number} index
   * @param {string} verb
   * @param {Weight[]} others
   */
  sentence(kind, index, verb, others) {
    const { tokens, words } = this.model;
    const line = make("div");
    line.append(make("span", `mark ${kind}`), make("bdi", "", tokens[index]), ` ${index + 1} ${verb} `);
    const most = others.filter(([, weight]) => weight >= FAINTEST).sort((a, b) => b[1] - a[1]);
    if (!most.length) line.append(words.nobody);
    most.slice(0, 4).forEach(([other, weight], place) => {
      if (place) line.append(", ");
      line.append(make("bdi", "", tokens[other]), ` ${other + 1} `, make("b", "", percent(weight)));
    });
    return line;
  }
}

// ---- small helpers

/**
 * Return an arc from one token to another; to itself, a small loop.
 * @param {number} from
 * @param {number} to
 * @param {number} y
 * @param {-1 | 1} direction Upwards or downwards.
 * @param {number} weight
 * @param {string} name The class of the path.
 * @param {number} strength Below 1, fainter.
 */
function arc(from, to, y, direction, weight, name, strength) {
  const room = direction < 0 ? ABOVE - 12 : BELOW - 12;
  const height = direction * Math.min(room, 24 + 0.42 * Math.abs(to - from));
  const far = y + (from === to ? direction * 26 : 1.3 * height);
  const path =
    from === to
      ? `M${from - 4},${y} C${from - 14},${far} ${from + 14},${far} ${from + 4},${y}`
      : `M${from},${y} C${from},${far} ${to},${far} ${to},${y}`;
  return makeSvg("path", {
    d: path,
    class: name,
    "stroke-width": 1 + 5 * weight,
    "stroke-opacity": strength * (0.25 + 0.75 * weight),
  });
}

/**
 * @param {"attention" | "query"} name
 * @param {number} strength
 */
function shade(name, strength) {
  const share = Math.round(60 * strength);
  return share ? `color-mix(in srgb, var(--${name}) ${share}%, transparent)` : "transparent";
}
