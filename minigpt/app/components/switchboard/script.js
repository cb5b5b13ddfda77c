// Every head and feed-forward block of the model as a switch: layers downwards, heads to the right, feed-forward last.
//
// The browser keeps which parts are off, so that a press answers at once and quick presses never fall back; the server
// is told. When the page itself changes them (`moved` has grown), the server's list replaces the browser's.

import { find, keep, make, setColours, shownColours } from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/** @typedef {{ attention: string, text: string, blocked: string, up: string, down: string }} Colours */

/**
 * What Python sends, from `switchboard.message`.
 * @typedef {object} Header
 * @property {number} layers
 * @property {number} heads
 * @property {boolean} feedforward Whether layers have a feed-forward block.
 * @property {number[]} off The parts that are off, numbered layer by layer.
 * @property {number} moved Grows each time the page itself changes `off`.
 * @property {number[][] | null} importance What turning each part off costs, for each layer and column.
 * @property {string} unit
 * @property {Words} words
 */

/**
 * @typedef {object} Words
 * @property {string} label
 * @property {string} hint
 * @property {string} layer
 * @property {string} whole
 * @property {string} head
 * @property {string} feedforward
 * @property {string} on
 * @property {string} off
 */

/** @typedef {Header & Themes<Colours>} Message */

const DENSE = 8; // with more heads than these, narrower switches with smaller names

/** @param {Component<Message>} component */
export default function (component) {
  return keep(component, Board);
}

class Board {
  /** @type {Component<Message>} The last call. */
  component;
  /** @type {Message} */
  data;
  /** @type {Set<number>} The parts that are off. */
  off = new Set();
  /** @type {HTMLButtonElement[][]} By layer: the switch of the whole layer, then one for each part. */
  rows = [];
  shape = "";

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".board");
    this.hint = find(parent, ".hint");
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {Component<Message>} component */
  update(component) {
    const { data } = component;
    const shape = `${data.layers}x${data.heads}${data.feedforward}`;
    if (shape !== this.shape || data.moved !== this.data.moved) this.off = new Set(data.off);
    this.data = data;
    this.component = component;
    if (shape !== this.shape) this.build();
    this.shape = shape;
    this.root.setAttribute("aria-label", data.words.label);
    this.hint.textContent = data.words.hint;
    this.colour();
    this.draw();
  }

  colour() {
    if (this.data) setColours(this.root, shownColours(this.parent, this.data));
  }

  build() {
    const { layers, heads, feedforward, words } = this.data;
    this.root.classList.toggle("dense", heads > DENSE);
    this.root.style.setProperty("--heads", String(heads));
    this.root.classList.toggle("bare", !feedforward);
    this.rows = Array.from({ length: layers }, (_, layer) => {
      const whole = this.make("whole", `${words.layer} ${layer + 1}`, () => this.pressLayer(layer));
      const parts = this.partsOf(layer).map((part, column) => {
        const name = column < heads ? `${layer + 1}.${column + 1}` : `FF ${layer + 1}`;
        const button = this.make(column < heads ? "head" : "feedforward", name, () => this.press(part));
        button.dataset.part = name;
        return button;
      });
      return [whole, ...parts];
    });
    this.rows.flat().forEach((button, index) => {
      button.tabIndex = index === 1 ? 0 : -1;
    });
    this.root.replaceChildren(...this.rows.flat());
  }

  /**
   * @param {"whole" | "head" | "feedforward"} kind
   * @param {string} name
   * @param {() => void} press
   */
  make(kind, name, press) {
    const button = make("button", kind);
    button.type = "button";
    button.setAttribute("role", "switch");
    button.append(make("b", "", name), make("small"), make("span", "bar"));
    button.onclick = press;
    return button;
  }

  draw() {
    const { importance, words } = this.data;
    const most = importance ? Math.max(1e-9, ...importance.flat().map(Math.abs)) : 1;
    this.rows.forEach(([whole, ...parts], layer) => {
      const numbers = this.partsOf(layer);
      const isOn = numbers.some((part) => !this.off.has(part));
      whole.setAttribute("aria-checked", String(isOn));
      whole.setAttribute("aria-label", `${words.whole} ${layer + 1}: ${isOn ? words.on : words.off}`);
      parts.forEach((button, column) => {
        const cost = importance ? importance[layer][column] : null;
        this.drawPart(button, layer, column, !this.off.has(numbers[column]), cost, most);
      });
    });
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {number} layer
   * @param {number} column
   * @param {boolean} isOn
   * @param {number | null} cost What turning it off costs; null where that was not measured.
   * @param {number} most The largest cost of any part.
   */
  drawPart(button, layer, column, isOn, cost, most) {
    const { heads, unit, words } = this.data;
    const name = column < heads ? `${words.head} ${layer + 1}.${column + 1}` : `${words.feedforward} ${layer + 1}`;
    const measured = cost === null ? "" : `, ${signed(cost)} ${unit}`;
    const label = `${name}: ${isOn ? words.on : words.off}${measured}`;
    button.setAttribute("aria-checked", String(isOn));
    button.setAttribute("aria-label", label);
    button.title = label;
    find(button, "small").textContent = cost !== null ? signed(cost) : isOn ? "" : words.off;
    const bar = find(button, ".bar");
    bar.className = `bar ${(cost ?? 0) > 0 ? "up" : "down"}`;
    bar.style.width = cost === null ? "0" : `${(Math.abs(cost) / most) * 100}%`;
  }

  /**
   * Return the numbers of a layer's parts: its heads, then its feed-forward block.
   * @param {number} layer
   */
  partsOf(layer) {
    const { heads, feedforward } = this.data;
    return Array.from({ length: feedforward ? heads + 1 : heads }, (_, column) => layer * (heads + 1) + column);
  }

  /** @param {number} part */
  press(part) {
    if (!this.off.delete(part)) this.off.add(part);
    this.tell();
  }

  /** @param {number} layer */
  pressLayer(layer) {
    const parts = this.partsOf(layer);
    if (parts.every((part) => this.off.has(part))) for (const part of parts) this.off.delete(part);
    else for (const part of parts) this.off.add(part);
    this.tell();
  }

  tell() {
    this.draw();
    this.component.setTriggerValue("switched", [...this.off]);
  }

  /**
   * One stop for the Tab key; the arrow keys go from switch to switch, Space and Enter press.
   * @param {KeyboardEvent} event
   */
  key(event) {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!move) return;
    const button = /** @type {HTMLButtonElement} */ (event.target);
    const row = this.rows.findIndex((buttons) => buttons.includes(button));
    if (row < 0) return;
    event.preventDefault();
    const column = this.rows[row].indexOf(button);
    const next = this.rows[row + move[0]]?.[column + move[1]];
    if (!next) return;
    for (const button of this.rows.flat()) button.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

// ---- small helpers

/** @param {number} value */
function signed(value) {
  const text = Math.abs(value).toFixed(2);
  return text === "0.00" ? text : `${value < 0 ? "−" : "+"}${text}`;
}
