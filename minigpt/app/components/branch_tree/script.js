// A tree of texts with one beginning: each row a text, each cell a token, a line where a text parts from another one.
//
// Everything a person typed arrives in `data` and reaches the page through textContent only. Moving through the tree and
// replaying a search need no server; it computes only a branch that grows.

import { find, keep, make, makeSvg, setColours, shownColours } from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/** @typedef {{ brand: string, surprise: string, reference: string }} Colours */

/**
 * One token.
 * @typedef {object} Cell
 * @property {string} text Empty: it ends the text.
 * @property {number} parent The token before it; -1 for a first one.
 * @property {number} column
 * @property {number} lane
 * @property {number} share Its probability after the tokens before it.
 * @property {number} sum Logarithm of the probability of the text up to it.
 * @property {number} id
 * @property {[number, string, number][]} others Id, text and probability of the most likely tokens at its place.
 */

/**
 * What Python sends, from `branch_tree.message`.
 * @typedef {object} Header
 * @property {Cell[]} cells
 * @property {string} prompt The end of the prompt.
 * @property {{ place: number, tag: string, log_prob: string, odds: string }[]} rows The texts that are listed.
 * @property {number[]} trunk The tokens of the first text.
 * @property {number} place The token that is shown at first.
 * @property {string} moved Changes when the page itself chooses `place`.
 * @property {number[][]} beams For each step of a search the tokens that it kept, best first.
 * @property {number[]} best The tokens of the text that the search found.
 * @property {Words} words
 */

/**
 * @typedef {object} Words
 * @property {string} label The tree, for screen readers.
 * @property {string} legend
 * @property {string} end The token that ends a text.
 * @property {string} token With `{number}`, `{token}`, `{share}` and `{sum}`.
 * @property {string} others What stands before the candidates.
 * @property {string} unknown In place of the candidates where there are none.
 * @property {string} written Beside the candidate that stands there.
 * @property {string} there Beside a candidate that the tree has already.
 * @property {string} grow For screen readers, with `{token}` and `{share}`.
 * @property {string} texts Above the list of texts.
 * @property {string} more Below it, with `{count}`.
 * @property {string} step With `{step}`, `{count}`, `{kept}` and `{dropped}`.
 * @property {string} slider For screen readers.
 * @property {string} play
 * @property {string} pause
 */

/** @typedef {Header & Themes<Colours>} Message */

const MUCH = 8; // bits at which a cell has its full colour, as in token_strip
const TICK = 420; // milliseconds for one step of the replay
const FEW = 12; // so many texts are listed

/** @param {Component<Message>} component */
export default function (component) {
  return keep(component, Tree);
}

class Tree {
  /** @type {Component<Message>} The last call. */
  component;
  /** @type {Message} */
  data;
  /** @type {HTMLButtonElement[]} One for each cell. */
  buttons = [];
  place = -1;
  isGrowing = false; // a candidate was pressed, and its branch is not there yet
  shape = "";
  timer = 0;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".tree");
    this.replay = find(parent, ".replay");
    this.play = find(parent, ".play", HTMLButtonElement);
    this.slider = find(parent, "input", HTMLInputElement);
    this.said = find(parent, ".said");
    this.scroll = find(parent, ".scroll");
    this.grid = find(parent, ".grid");
    this.links = find(parent, ".links", SVGSVGElement);
    this.legend = find(parent, ".legend");
    this.placeText = find(parent, ".place");
    this.candidates = find(parent, ".candidates");
    this.texts = find(parent, ".texts");
    this.grid.addEventListener("click", (event) => this.go(this.indexOf(event)));
    this.grid.addEventListener("focusin", (event) => this.go(this.indexOf(event)));
    this.grid.addEventListener("keydown", (event) => this.key(event));
    this.slider.addEventListener("input", () => {
      this.pause();
      this.drawStep();
      this.bringIntoView(this.data.beams[Number(this.slider.value) - 1]?.[0] ?? -1);
    });
    this.play.addEventListener("click", () => (this.timer ? this.pause() : this.start()));
    this.sizes = new ResizeObserver(() => this.link());
  }

  wake() {
    this.sizes.observe(this.grid);
  }

  rest() {
    this.pause();
    this.sizes.disconnect();
  }

  /** @param {Component<Message>} component */
  update(component) {
    const { data } = component;
    const isMoved = data.moved !== this.data?.moved;
    const shape = JSON.stringify([data.cells, data.beams, data.prompt]);
    this.component = component;
    this.data = data;
    this.grid.setAttribute("aria-label", data.words.label);
    this.legend.textContent = data.words.legend;
    this.colour();
    if (isMoved || !data.cells[this.place]) this.place = data.place; // a shorter tree may lack it
    if (shape !== this.shape) this.build();
    this.shape = shape;
    this.show(isMoved);
    if (isMoved && this.isGrowing) this.buttons[this.place]?.focus({ preventScroll: true }); // its button is gone
    this.isGrowing = false;
  }

  colour() {
    if (this.data) setColours(this.root, shownColours(this.parent, this.data));
  }

  build() {
    const { cells, beams, prompt, words } = this.data;
    this.pause();
    this.links.replaceChildren(); // they belong to the buttons of before
    this.buttons = cells.map((cell) => {
      const button = make("button", "cell", cell.text || words.end);
      button.type = "button";
      button.classList.toggle("end", !cell.text);
      button.style.gridColumn = String(cell.column + 2);
      button.style.gridRow = String(cell.lane + 1);
      button.style.setProperty("--shade", `${shade(cell.share)}%`);
      button.setAttribute("aria-label", `${cell.text || words.end} ${chance(cell.share)}`);
      button.title = chance(cell.share);
      button.classList.toggle("fork", cell.lane !== (cells[cell.parent]?.lane ?? 0));
      return button;
    });
    const start = make("span", "prompt", prompt);
    const parents = new Set(cells.map((cell) => cell.parent));
    const sums = cells.flatMap((cell, at) => {
      if (parents.has(at) || (beams.length && !this.data.rows.some((row) => row.place === at))) return [];
      const sum = make("span", "sum", minus(cell.sum));
      sum.dataset.index = String(at);
      sum.style.gridColumn = String(cell.column + 3);
      sum.style.gridRow = String(cell.lane + 1);
      return [sum];
    });
    this.grid.replaceChildren(this.links, start, ...this.buttons, ...sums);
    this.replay.hidden = !beams.length;
    this.slider.max = String(Math.max(1, beams.length));
    this.slider.value = this.slider.max;
    this.slider.setAttribute("aria-label", words.slider);
    this.drawStep();
    this.drawTexts();
    this.link();
  }

  /** Draw a line from each token to the one after it, where they do not touch. */
  link() {
    if (!this.data || !this.buttons.length) return;
    const start = find(this.grid, ".prompt");
    this.links.setAttribute("width", String(this.grid.scrollWidth));
    this.links.setAttribute("height", String(this.grid.offsetHeight));
    const lines = this.data.cells.flatMap((cell, at) => {
      const [from, to] = [this.buttons[cell.parent] ?? start, this.buttons[at]];
      const [x, y] = [from.offsetLeft + from.offsetWidth, from.offsetTop + from.offsetHeight / 2];
      const [right, below] = [to.offsetLeft, to.offsetTop + to.offsetHeight / 2];
      if (right - x < 5 && y === below) return [];
      const bend = right - 8;
      const path = y === below ? `M${x} ${y}H${right}` : `M${x} ${y}C${x + 6} ${y} ${bend} ${below} ${right} ${below}`;
      const line = makeSvg("path", { d: path, class: "link" });
      line.dataset.index = String(at);
      return [line];
    });
    this.links.replaceChildren(...lines);
    this.mark();
  }

  // ---- the search, step by step

  start() {
    if (Number(this.slider.value) >= this.data.beams.length) this.slider.value = "1";
    this.drawStep();
    this.timer = window.setInterval(() => {
      this.slider.value = String(Number(this.slider.value) + 1);
      if (Number(this.slider.value) >= this.data.beams.length) this.pause();
      this.drawStep();
    }, TICK);
    this.play.textContent = this.data.words.pause;
  }

  pause() {
    window.clearInterval(this.timer);
    this.timer = 0;
    if (this.data) this.play.textContent = this.data.words.play;
  }

  /** Show which beginnings the search had after the step that the slider says, and which it had dropped. */
  drawStep() {
    const { cells, beams, trunk, best, words } = this.data;
    const step = Number(this.slider.value);
    const isOver = step === beams.length;
    const kept = beams[step - 1] ?? [];
    const going = new Set(kept.flatMap((at) => this.way(at)));
    if (isOver) for (const at of best) going.add(at);
    const seen = new Set(beams.slice(0, step).flat());
    const [greedy, ever, winning] = [trunk, beams.flat(), best].map((places) => new Set(places));
    this.buttons.forEach((button, at) => {
      const isOfSearch = seen.has(at) || (isOver && winning.has(at));
      button.classList.toggle("going", beams.length > 0 && going.has(at));
      button.classList.toggle("kept", kept.includes(at) && !isOver);
      button.classList.toggle("dropped", beams.length > 0 && isOfSearch && !going.has(at));
      button.classList.toggle("aside", beams.length > 0 && !isOfSearch);
      button.classList.toggle("later", beams.length > 0 && !isOfSearch && !greedy.has(at) && ever.has(at));
      button.classList.toggle("best", isOver && beams.length > 0 && winning.has(at));
    });
    if (beams.length) {
      const dropped = [...seen].filter((at) => !going.has(at) && cells[at].column < step).length;
      this.said.textContent = fill(words.step, { step, count: beams.length, kept: kept.length, dropped });
      if (this.timer) this.bringIntoView(kept[0]);
      for (const sum of this.grid.querySelectorAll(".sum")) {
        const end = this.buttons[Number(/** @type {HTMLElement} */ (sum).dataset.index)];
        sum.classList.toggle("later", end.classList.contains("later"));
      }
    }
    this.mark();
  }

  // ---- one token

  /** @param {Event} event */
  indexOf(event) {
    return this.buttons.findIndex((button) => event.composedPath().includes(button));
  }

  /** @param {number} at */
  way(at) {
    const result = [];
    for (let place = at; place >= 0; place = this.data.cells[place].parent) result.push(place);
    return result.reverse();
  }

  /**
   * @param {number} at
   * @param {boolean} [withFocus]
   */
  go(at, withFocus = false) {
    if (at < 0) return;
    if (at !== this.place) {
      this.place = at;
      this.show(false);
    }
    if (withFocus) this.buttons[at].focus({ preventScroll: true });
    if (withFocus) this.bringIntoView(at);
  }

  /** @param {number} at */
  bringIntoView(at) {
    const button = this.buttons[at];
    if (!button) return;
    const room = this.scroll.clientWidth;
    const left = button.offsetLeft - this.scroll.scrollLeft;
    if (left < 40 || left > room - 80) this.scroll.scrollLeft = button.offsetLeft - room / 2;
  }

  /** @param {boolean} isMoved Whether the page has chosen the token. */
  show(isMoved) {
    this.buttons.forEach((button, at) => {
      button.tabIndex = at === this.place || (this.place < 0 && at === 0) ? 0 : -1;
      button.classList.toggle("open", at === this.place);
      if (at === this.place) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    });
    this.drawPanel();
    this.mark();
    if (isMoved) this.bringIntoView(this.place);
  }

  /** Mark the text that leads to the open token, in the tree and in the list. */
  mark() {
    const end = this.data.rows.find((row) => this.way(row.place).includes(this.place))?.place ?? this.place;
    const way = new Set(this.place < 0 ? [] : this.way(end));
    this.buttons.forEach((button, at) => {
      button.classList.toggle("way", way.has(at));
    });
    for (const line of this.links.querySelectorAll("path")) {
      const at = Number(line.dataset.index);
      line.setAttribute("class", `link ${this.buttons[at].className.replace("cell", "")}`);
    }
    for (const row of this.texts.querySelectorAll("button")) {
      row.setAttribute("aria-pressed", String(Number(row.dataset.place) === end));
    }
  }

  drawPanel() {
    const { cells, words } = this.data;
    const cell = cells[this.place];
    this.placeText.replaceChildren();
    this.candidates.replaceChildren();
    if (!cell) return;
    const [before, after] = words.token.split("{token}");
    const values = { number: cell.column + 1, share: chance(cell.share), sum: minus(cell.sum) };
    this.placeText.append(fill(before, values), make("bdi", "", cell.text || words.end), fill(after, values));
    this.placeText.append(` ${cell.others.length ? words.others : words.unknown}`);
    const others = cell.others.some(([id]) => id === cell.id) || !cell.others.length;
    const all = others ? cell.others : [...cell.others, [cell.id, cell.text, cell.share]];
    this.candidates.append(...all.map(([id, text, share]) => this.candidate(Number(id), String(text), Number(share))));
  }

  /**
   * @param {number} id
   * @param {string} text
   * @param {number} share
   */
  candidate(id, text, share) {
    const { cells, words } = this.data;
    const { parent } = cells[this.place];
    const there = cells.findIndex((cell) => cell.parent === parent && cell.id === id);
    const button = make("button", "candidate");
    button.type = "button";
    button.style.setProperty("--share", `${Math.max(2, 100 * share)}%`);
    button.append(make("bdi", "", text || words.end), make("span", "share", chance(share)));
    if (there === this.place) button.append(make("span", "tag", words.written));
    else if (there >= 0) button.append(make("span", "tag", words.there));
    button.setAttribute("aria-pressed", String(there === this.place));
    if (there < 0) {
      button.setAttribute("aria-label", fill(words.grow, { token: text || words.end, share: chance(share) }));
    }
    button.addEventListener("click", () => {
      if (there >= 0) return this.go(there, true);
      button.classList.add("growing");
      this.isGrowing = true;
      this.component.setTriggerValue("grow", [...this.way(parent).map((at) => cells[at].id), id]);
    });
    return button;
  }

  drawTexts() {
    const { cells, rows, trunk, words } = this.data;
    const greedy = new Set(trunk);
    /** @type {HTMLElement[]} */
    const made = rows.slice(0, FEW).map((row) => {
      const button = make("button", "text");
      button.type = "button";
      button.dataset.place = String(row.place);
      const sum = make("span", "numbers");
      sum.append(make("b", "", row.log_prob.replace("-", "−")), make("span", "odds", row.odds));
      if (row.tag) sum.append(make("span", "tag", row.tag));
      const text = make("span", "words");
      for (const at of this.way(row.place)) {
        const isShared = greedy.has(at) && row.place !== trunk.at(-1);
        const token = cells[at].text || words.end;
        const last = text.lastElementChild;
        if (last && last.classList.contains("shared") === isShared) last.append(token);
        else text.append(make("span", isShared ? "shared" : "own", token));
        if (token.endsWith("␣")) text.lastElementChild?.append(make("wbr"));
      }
      button.append(sum, text);
      button.addEventListener("click", () => this.go(row.place));
      return button;
    });
    const more = rows.length - made.length;
    if (more > 0) made.push(make("p", "more", fill(words.more, { count: more })));
    this.texts.replaceChildren(make("p", "heading", words.texts), ...made);
  }

  /**
   * The arrow keys go along a text and to the next row; Enter goes to the candidates.
   * @param {KeyboardEvent} event
   */
  key(event) {
    const { cells } = this.data;
    const cell = cells[this.place];
    if (!cell) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.candidates.querySelector("button")?.focus();
      return;
    }
    const to = {
      ArrowLeft: cell.parent,
      ArrowRight: this.after(this.place),
      ArrowUp: this.beside(cell, -1),
      ArrowDown: this.beside(cell, 1),
      Home: this.way(this.place)[0],
      End: this.data.rows.find((row) => this.way(row.place).includes(this.place))?.place ?? this.place,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.go(to, true);
  }

  /** @param {number} at */
  after(at) {
    const { cells } = this.data;
    const next = cells.flatMap((cell, index) => (cell.parent === at ? [index] : []));
    return next.find((index) => cells[index].lane === cells[at].lane) ?? next[0] ?? -1;
  }

  /**
   * Return the nearest token in the next row above or below.
   * @param {Cell} from
   * @param {number} direction
   */
  beside(from, direction) {
    const far = (/** @type {Cell} */ cell) =>
      (cell.lane - from.lane) * direction * 1000 + Math.abs(cell.column - from.column);
    let nearest = -1;
    this.data.cells.forEach((cell, at) => {
      if ((cell.lane - from.lane) * direction <= 0) return;
      if (nearest < 0 || far(cell) < far(this.data.cells[nearest])) nearest = at;
    });
    return nearest;
  }
}

// ---- small helpers

/** @param {number} share */
function chance(share) {
  if (share < 0.001) return "< 0.1 %"; // as texts.probability
  if (share > 0.999 && share < 1) return "> 99.9 %";
  return `${share < 0.0995 ? Number((100 * share).toPrecision(2)) : Math.round(100 * share)} %`;
}

/**
 * @param {string} words
 * @param {Record<string, string | number>} values
 */
function fill(words, values) {
  return words.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** @param {number} value */
function minus(value) {
  return value.toFixed(2).replace("-", "−");
}

/**
 * Return how strong the ground of a token is, in percent of the colour.
 * @param {number} share
 */
function shade(share) {
  return Math.round(68 * Math.min(1, -Math.log2(Math.max(share, 1e-9)) / MUCH));
}
