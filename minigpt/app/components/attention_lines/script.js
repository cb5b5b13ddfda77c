// One head as lines between tokens: over the text where the focused token looks, under it who looks at it.
//
// One message: four bytes that give the header's length (little endian), the header as JSON, then two bytes a weight
// (little endian, 0..65535 for 0..1), query by query. Text reaches the page through textContent only.

import { isDark, keep, make, percent, unpack } from "../shared.js";

const ABOVE = 130;
const BELOW = 90;
const LARGEST = 1.05; // rem, as in the style sheet
const SMALLEST = 0.8;
const FAINTEST = 0.01; // lighter weights have no line
const OVERVIEW = 0.2; // so much weight must the lines of the other tokens have, which are drawn faintly

export default function (component) {
  return keep(component, Lines);
}

class Lines {
  constructor(parent) {
    this.host = parent.host ?? parent;
    this.root = parent.querySelector(".lines");
    this.scroll = this.root.querySelector(".scroll");
    this.sheet = this.root.querySelector(".sheet");
    this.svg = this.root.querySelector("svg");
    this.row = this.root.querySelector(".tokens");
    this.said = this.root.querySelector(".said");
    const on = (type, handler) => this.row.addEventListener(type, handler);
    on("pointermove", (event) => this.isMoved(event) && this.point(this.indexOf(event)));
    on("pointerleave", (event) => this.isMoved(event) && this.point(this.model.query));
    on("click", (event) => this.press(this.indexOf(event)));
    on("keydown", (event) => this.key(event));
    this.observer = new ResizeObserver(() => this.model && this.fit());
    // Another theme changes the colours without a word to components.
    this.watch = new MutationObserver(() => this.colour());
  }

  wake() {
    this.observer.observe(this.root);
    this.watch.observe(document.documentElement, { attributes: true });
  }

  rest() {
    this.observer.disconnect();
    this.watch.disconnect();
  }

  // The answer to a press may come while the reader is already further along; of the same text it moves nothing.
  update({ data, setTriggerValue }) {
    const before = this.model;
    this.model = unpack(data);
    this.setTriggerValue = setTriggerValue;
    this.row.setAttribute("aria-label", this.model.words.label);
    this.root.querySelector(".hint").textContent = this.model.words.hint;
    const isSameText = before && JSON.stringify(before.tokens) === JSON.stringify(this.model.tokens);
    if (!isSameText) this.build();
    if (!isSameText || before.query !== this.model.query) this.focus = this.model.query;
    this.colour();
    this.fit();
  }

  build() {
    this.length = this.model.tokens.length;
    this.row.style.marginTop = `${ABOVE}px`;
    this.row.style.marginBottom = `${BELOW}px`;
    this.spans = this.model.tokens.map((text, index) => {
      const span = make("bdi", "", text);
      span.dataset.index = index;
      return span;
    });
    this.row.replaceChildren(...this.spans);
  }

  // Smaller letters where that saves scrolling; smaller than that nobody reads.
  fit() {
    this.row.style.fontSize = "";
    const share = (this.scroll.clientWidth - 4) / this.row.offsetWidth;
    if (share < 1) this.row.style.fontSize = `${Math.max(SMALLEST, share * LARGEST)}rem`;
    this.show(this.focus);
    this.reveal();
  }

  colour() {
    if (!this.model) return;
    const colours = isDark(getComputedStyle(this.host)) ? this.model.dark : this.model.light;
    for (const [name, colour] of Object.entries(colours)) this.root.style.setProperty(`--${name}`, colour);
  }

  weight(query, key) {
    const { bytes } = this.model, at = 2 * (query * this.length + key);
    return (bytes[at] + 256 * bytes[at + 1]) / 65535;
  }

  // Whether a person moved the mouse: where the page moves under a mouse at rest, the browser tells of it all the same.
  isMoved(event) {
    const place = `${event.clientX},${event.clientY}`;
    const isMoved = event.pointerType === "mouse" && place !== this.place;
    this.place = place;
    return isMoved;
  }

  indexOf(event) {
    const span = event.composedPath().find((node) => node.dataset && node.dataset.index !== undefined);
    return span ? Number(span.dataset.index) : this.focus;
  }

  point(index) {
    if (index !== this.focus) this.show(index);
  }

  press(index) {
    this.model.query = index;
    this.show(index);
    this.setTriggerValue("focused", index);
  }

  key(event) {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return this.press(this.focus);
    }
    const steps = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.show(Math.max(0, Math.min(this.length - 1, this.focus + steps[event.key])));
    this.reveal();
  }

  reveal() {
    const span = this.spans[this.focus];
    const middle = span.offsetLeft + this.row.offsetLeft + span.offsetWidth / 2;
    this.scroll.scrollLeft = middle - this.scroll.clientWidth / 2;
  }

  show(index) {
    this.focus = index;
    const looks = [], looked = [];
    for (let other = 0; other < this.length; other++) {
      looks.push([other, this.weight(index, other)]);
      if (other !== index) looked.push([other, this.weight(other, index)]);
    }
    this.spans.forEach((span, other) => {
      span.classList.toggle("focus", other === index);
      const out = this.weight(index, other), back = other === index ? 0 : this.weight(other, index);
      const [name, strength] = out >= back ? ["attention", out] : ["query", back];
      span.style.background = shade(name, strength);
    });
    this.draw(index, looks, looked);
    this.say(index, looks, looked);
  }

  draw(index, looks, looked) {
    const box = this.sheet.getBoundingClientRect();
    const middles = this.spans.map((span) => {
      const place = span.getBoundingClientRect();
      return place.left + place.width / 2 - box.left;
    });
    const { top, bottom } = this.row.getBoundingClientRect();
    const over = top - box.top, under = bottom - box.top;
    const lines = [];
    for (let query = 0; query < this.length; query++) {
      if (query === index) continue;
      for (let key = 0; key < this.length; key++) {
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

  say(index, looks, looked) {
    const { words } = this.model;
    this.said.replaceChildren(
      this.sentence("looks", index, words.looks, looks),
      this.sentence("looked", index, words.looked, looked),
    );
  }

  sentence(kind, index, verb, others) {
    const line = make("div", "", "");
    line.append(make("span", `mark ${kind}`, ""), make("bdi", "", this.model.tokens[index]), ` ${index + 1} ${verb} `);
    const most = others.filter(([, weight]) => weight >= FAINTEST).sort((a, b) => b[1] - a[1]).slice(0, 4);
    if (!most.length) line.append(this.model.words.nobody);
    most.forEach(([other, weight], place) => {
      if (place) line.append(", ");
      line.append(make("bdi", "", this.model.tokens[other]), ` ${other + 1} `, make("b", "", percent(weight)));
    });
    return line;
  }
}

// ---- small helpers

// A bow from one token to another; to itself, a small loop.
function arc(from, to, y, direction, weight, name, strength) {
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  const room = direction < 0 ? ABOVE - 12 : BELOW - 12;
  const height = direction * Math.min(room, 24 + 0.42 * Math.abs(to - from));
  const bow = from === to
    ? `M${from - 4},${y} C${from - 14},${y + direction * 26} ${from + 14},${y + direction * 26} ${from + 4},${y}`
    : `M${from},${y} C${from},${y + 1.3 * height} ${to},${y + 1.3 * height} ${to},${y}`;
  path.setAttribute("d", bow);
  path.setAttribute("class", name);
  path.setAttribute("stroke-width", String(1 + 5 * weight));
  path.setAttribute("stroke-opacity", String(strength * (0.25 + 0.75 * weight)));
  return path;
}

function shade(name, strength) {
  const share = Math.round(60 * strength);
  return share ? `color-mix(in srgb, var(--${name}) ${share}%, transparent)` : "transparent";
}
