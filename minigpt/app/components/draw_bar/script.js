// A cumulative bar of chances: the visitor picks the token on which the draw falls, on the bar or by a button.
//
// A pick is told to the server, which answers with the right token. Until then the bar is locked, so that a second press
// is no second pick.

import { find, keep, make, setColours, shownColours } from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/** @typedef {{ brand: string, surprise: string, text: string, background: string, sequential: string[] }} Colours */

/** @typedef {{ label: string, share: string, low: number, size: number }} Token */

/**
 * What Python sends, from `draw_bar.message`.
 * @typedef {object} Header
 * @property {string} turn Name of this draw.
 * @property {number} u The draw, between 0 and 1.
 * @property {string} value The draw as it is written.
 * @property {Token[]} tokens From left to right.
 * @property {number | null} right The token on which the draw falls, once the visitor has picked.
 * @property {number | null} picked
 * @property {Record<string, string>} words
 */

/** @typedef {Header & Themes<Colours>} Message */

const TICKS = 10;

/** @param {Component<Message>} component */
export default function (component) {
  return keep(component, DrawBar);
}

class DrawBar {
  /** @type {Component<Message>} The last call. */
  component;
  /** @type {Message} */
  data;
  /** @type {string | null} The draw for which the visitor has picked. */
  told = null;
  /** @type {HTMLButtonElement[]} */
  buttons = [];
  /** @type {HTMLElement[]} */
  segments = [];

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".draw");
    this.bar = find(parent, ".bar");
    this.pin = find(parent, ".pin");
    this.tokens = find(parent, ".tokens");
    this.bar.addEventListener("click", (event) => this.click(event));
    this.bar.addEventListener("pointermove", (event) => this.point(this.tokenAt(event)));
    this.bar.addEventListener("pointerleave", () => this.point(-1));
    this.tokens.addEventListener("keydown", (event) => this.key(event));
    const scale = find(parent, ".scale");
    for (let at = 0; at <= TICKS; at++) {
      const tick = make("span", "", at % TICKS ? `.${at}` : String(at / TICKS));
      tick.style.left = `${(100 * at) / TICKS}%`;
      scale.append(tick);
    }
  }

  /** @param {Component<Message>} component */
  update(component) {
    const { data } = component;
    const isNew = data.turn !== this.data?.turn;
    this.component = component;
    this.data = data;
    if (isNew) this.told = null;
    find(this.root, ".name").textContent = data.words.draw;
    find(this.root, ".value").textContent = data.value;
    find(this.root, ".hint").textContent = data.words.hint;
    this.tokens.setAttribute("aria-label", data.words.label);
    this.build();
    this.colour();
  }

  colour() {
    if (!this.data) return;
    const colours = shownColours(this.parent, this.data);
    setColours(this.root, colours);
    this.root.style.setProperty("--even", colours.sequential[2]);
    this.root.style.setProperty("--odd", colours.sequential[3]);
  }

  build() {
    const { tokens, right, picked, words, u } = this.data;
    const isDecided = right !== null;
    const focused = this.buttons.findIndex((button) => button.matches(":focus"));
    this.root.classList.toggle("decided", isDecided);
    this.pin.style.left = `${100 * u}%`;
    this.pin.hidden = !isDecided;
    this.pin.classList.toggle("late", u > 0.7);
    this.pin.dataset.value = this.data.value;
    this.segments = tokens.map(({ label, low, size }, index) => {
      const segment = make("span", stateOf(index, right, picked));
      segment.style.left = `${100 * low}%`;
      segment.style.width = `${100 * size}%`;
      segment.append(make("i", "", label));
      return segment;
    });
    this.bar.replaceChildren(...this.segments);
    this.buttons = tokens.map(({ label, share }, index) => {
      const button = make("button", stateOf(index, right, picked));
      button.type = "button";
      button.tabIndex = index === 0 ? 0 : -1;
      button.setAttribute("aria-disabled", String(isDecided));
      const said = index === right ? words.right : index === picked ? words.wrong : "";
      button.append(make("b", "", label), make("small", "", share), make("em", "", said));
      button.onclick = () => this.pick(index);
      button.onpointerenter = () => this.point(index);
      button.onpointerleave = () => this.point(-1);
      button.onfocus = () => this.point(index);
      button.onblur = () => this.point(-1);
      return button;
    });
    this.tokens.replaceChildren(...this.buttons);
    if (focused >= 0) this.focus(Math.min(focused, this.buttons.length - 1));
  }

  /**
   * Return the token at a place on the bar.
   * @param {MouseEvent} event
   */
  tokenAt(event) {
    const { left, width } = this.bar.getBoundingClientRect();
    const share = (event.clientX - left) / width;
    const after = this.data.tokens.findIndex(({ low }) => low > share);
    return (after < 0 ? this.data.tokens.length : Math.max(1, after)) - 1;
  }

  /** @param {MouseEvent} event */
  click(event) {
    this.pick(this.tokenAt(event));
  }

  /** @param {number} index */
  pick(index) {
    const { turn, right } = this.data;
    if (right !== null || this.told === turn) return;
    this.told = turn;
    this.buttons[index].classList.add("picked");
    this.component.setTriggerValue("pick", { turn, token: index });
  }

  /**
   * Show which segment belongs to which button.
   * @param {number} index The token; -1 for none.
   */
  point(index) {
    for (const list of [this.buttons, this.segments]) {
      list.forEach((each, at) => {
        each.classList.toggle("pointed", at === index);
      });
    }
  }

  /** @param {number} index */
  focus(index) {
    this.buttons.forEach((button, at) => {
      button.tabIndex = at === index ? 0 : -1;
    });
    this.buttons[index]?.focus({ preventScroll: true });
  }

  /**
   * One stop for the Tab key; the arrow keys go from token to token, Space and Enter pick.
   * @param {KeyboardEvent} event
   */
  key(event) {
    const last = this.buttons.length - 1;
    const at = this.buttons.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    const next = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[
      event.key
    ];
    if (at < 0 || next === undefined) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(last, next)));
  }
}

/**
 * @param {number} index
 * @param {number | null} right
 * @param {number | null} picked
 */
function stateOf(index, right, picked) {
  if (index === right) return "right";
  return index === picked ? "wrong" : "";
}
