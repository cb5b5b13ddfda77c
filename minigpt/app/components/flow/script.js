// The way from text to next character, from a recording of a real forward pass: characters become numbers, numbers pass
// through the layers' heads, and the last position becomes a probability for every next character. Then one is drawn.
//
// It moves by itself only while it is on screen and only where motion is welcome; the buttons always work.

import { find, hatch, keep, make, makeSvg, penOf, percent, scale, setColours, shownColours } from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/**
 * @typedef {object} Colours
 * @property {string} attention
 * @property {string} training
 * @property {string} query
 * @property {string} reference
 * @property {string} background
 * @property {string} secondary
 * @property {string} blocked
 * @property {string[]} sequential
 * @property {string[]} diverging
 */

/**
 * What was recorded: `minigpt.interpret.flow.Flow`, which describes each field.
 * @typedef {object} Flow
 * @property {string[]} tokens
 * @property {number[]} ids
 * @property {number} num_prompt
 * @property {number} num_layers
 * @property {number} num_heads
 * @property {string} embeddings
 * @property {string} attention
 * @property {{ candidates: [string, number][], chosen: number, u: number }[]} choices
 */

/** @typedef {Themes<Colours> & { flow: Flow, words: Record<string, string> }} Message `flow.flow` lists the words. */

const MS_PER_WORD = 300; // a slow reader's pace

/** @param {Component<{ message: string }>} component */
export default function (component) {
  return keep(component, FlowView);
}

class FlowView {
  /** @type {Flow} */
  flow;
  /** @type {Record<string, string>} */
  words;
  /** @type {Colours} */
  colours;
  /** @type {Uint8Array} One byte for each weight, layer by layer, head by head, query by query. */
  attention;
  /** @type {Int8Array} The first numbers of each token. */
  embeddings;
  /** @type {HTMLElement[]} One for each token. */
  rows = [];
  /** @type {{ card: HTMLElement, maps: HTMLElement, canvases: HTMLCanvasElement[] }[]} */
  layers = [];
  /** @type {HTMLElement[]} One for each candidate. */
  bars = [];
  step = 0; // the character that is being written
  phase = 0; // see `show`
  lastPhase = 0;
  isVisible = false;
  isPlaying = !matchMedia("(prefers-reduced-motion: reduce)").matches;
  timer = 0;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".flow");
    this.stage = find(parent, ".stage");
    this.svg = find(parent, "svg", SVGSVGElement);
    find(parent, ".play").onclick = () => this.setPlaying(!this.isPlaying);
    find(parent, ".next-step").onclick = () => {
      this.setPlaying(false);
      this.step = (this.step + 1) % this.flow.choices.length;
      this.show(this.lastPhase);
    };
    this.resized = new ResizeObserver(() => this.flow && this.drawRibbons());
    this.seen = new IntersectionObserver(([entry]) => {
      this.isVisible = entry.isIntersecting;
      this.schedule();
    });
  }

  wake() {
    this.resized.observe(this.stage);
    this.seen.observe(this.root);
  }

  rest() {
    clearTimeout(this.timer);
    this.resized.disconnect();
    this.seen.disconnect();
  }

  /** @param {Component<{ message: string }>} component */
  update({ data: { message } }) {
    /** @type {Message} */
    const data = JSON.parse(message);
    const isSame = this.flow && this.flow.attention === data.flow.attention;
    this.words = data.words;
    this.flow = data.flow;
    this.colours = shownColours(this.parent, data);
    setColours(this.root, this.colours, "flow-");
    if (!isSame) {
      this.attention = decode(this.flow.attention);
      this.embeddings = new Int8Array(decode(this.flow.embeddings).buffer);
      this.lastPhase = this.flow.num_layers + 2;
      this.step = 0;
      this.phase = this.isPlaying ? 0 : this.lastPhase;
      this.build();
    }
    this.label();
    this.show(this.phase);
  }

  /**
   * @param {string} selector
   * @param {string} text
   */
  write(selector, text) {
    find(this.root, selector).textContent = text;
  }

  // ---- elements

  build() {
    const { tokens, ids, num_layers: layers, num_heads: heads, choices } = this.flow;
    this.rows = tokens.map((text, index) => {
      const row = make("div", "row");
      row.append(make("bdi", "token", visible(text)), make("span", "id", String(ids[index])), make("canvas"));
      return row;
    });
    find(this.root, ".tokens").replaceChildren(...this.rows);
    this.layers = Array.from({ length: layers }, (_, layer) => {
      const card = make("div", "layer");
      const maps = make("div", "maps");
      const canvases = Array.from({ length: heads }, () => make("canvas"));
      maps.dataset.heads = heads > 4 ? "many" : "few";
      maps.append(...canvases);
      card.append(make("div", "name", `${this.words.layer} ${layer + 1}`), maps);
      return { card, maps, canvases };
    });
    find(this.root, ".layers").replaceChildren(...this.layers.map(({ card }) => card));
    this.bars = choices[0].candidates.map(() => {
      const bar = make("div", "bar");
      const track = make("div", "track");
      track.append(make("div", "fill"));
      bar.append(make("bdi", "token"), track, make("span", "share"));
      return bar;
    });
    find(this.root, ".bars").replaceChildren(...this.bars);
  }

  label() {
    this.root.setAttribute("aria-label", this.words.alt);
    this.write(".column-text", this.words.text);
    this.write(".column-numbers", this.words.numbers);
    this.write(".column-next", this.words.next);
    this.write(".next-step", this.words.step);
    this.labelPlay();
  }

  labelPlay() {
    this.write(".play", this.isPlaying ? this.words.pause : this.words.play);
  }

  // ---- time

  /** @param {boolean} isPlaying */
  setPlaying(isPlaying) {
    this.isPlaying = isPlaying;
    this.labelPlay();
    this.schedule();
  }

  schedule() {
    clearTimeout(this.timer);
    this.root.classList.toggle("moving", this.isPlaying && this.isVisible);
    if (!this.isPlaying || !this.isVisible) return;
    this.timer = setTimeout(() => {
      if (this.phase === this.lastPhase) {
        this.step = (this.step + 1) % this.flow.choices.length;
        this.show(0);
      } else {
        this.show(this.phase + 1);
      }
    }, this.waitOf(this.phase));
  }

  /**
   * How long a phase stays, in milliseconds: its sentence stands long enough to be read, also over several phases.
   * @param {number} phase
   */
  waitOf(phase) {
    const isAtEnd = this.step === this.flow.choices.length - 1 && phase === this.lastPhase;
    const name = this.sentenceOf(phase);
    let phases = 0; // that show the same sentence
    for (let other = 0; other <= this.lastPhase; other++) phases += this.sentenceOf(other) === name ? 1 : 0;
    const reading = this.words[name].split(" ").length * MS_PER_WORD;
    return Math.max(isAtEnd ? 4000 : 450, reading / phases);
  }

  /**
   * The name of the sentence of a phase. All is explained at the first character; after it, one sentence stands for
   * the whole way, and only the draw gets its own.
   * @param {number} phase
   */
  sentenceOf(phase) {
    if (this.step) return phase === this.lastPhase ? "say_next" : "say_again";
    if (phase === 0) return "say_read";
    if (phase <= this.flow.num_layers) return "say_layer";
    return phase === this.lastPhase ? "say_fallen" : "say_odds";
  }

  /**
   * @param {number} phase Of the character that is written: 0 the text is read, 1 to L one layer after another, L + 1
   *   the probabilities are there, L + 2 one has been drawn.
   */
  show(phase) {
    this.phase = phase;
    const { flow, step, words, lastPhase } = this;
    const read = flow.num_prompt + step;
    const choice = flow.choices[step];
    const hasFallen = phase === lastPhase;
    const isKnown = phase > flow.num_layers;
    const name = phase === 0 ? "read" : !isKnown ? "layer" : hasFallen ? "fallen" : "odds";
    this.root.dataset.phase = name;
    this.write(".given", flow.tokens.slice(0, flow.num_prompt).join(""));
    this.write(".written", flow.tokens.slice(flow.num_prompt, read).join(""));
    this.write(".fresh", hasFallen ? flow.tokens[read] : "");
    this.rows.forEach((row, index) => {
      row.classList.toggle("empty", index >= read);
      row.classList.toggle("last", index === read - 1);
      row.classList.toggle("made", index >= flow.num_prompt);
    });
    this.layers.forEach(({ card }, layer) => {
      card.classList.toggle("lit", phase === layer + 1);
      card.classList.toggle("passed", phase > layer + 1);
    });
    this.bars.forEach((bar, index) => {
      const [text, probability] = choice.candidates[index];
      find(bar, ".token").textContent = isKnown ? visible(text) : "";
      find(bar, ".fill").style.width = isKnown ? `${Math.max(1, probability * 100)}%` : "0%";
      find(bar, ".share").textContent = isKnown ? percent(probability) : "";
      bar.classList.toggle("chosen", hasFallen && index === choice.chosen);
    });
    this.paint(read);
    this.drawRibbons();
    const sentence = words[this.sentenceOf(phase)]
      .replace("{draw}", choice.u.toFixed(2))
      .replaceAll("{token}", () => visible(flow.tokens[read] ?? ""))
      .replace("{share}", percent(choice.candidates[choice.chosen][1]));
    this.write(".said", sentence);
    this.schedule();
  }

  // ---- painting

  /** @param {number} read How many tokens have been read. */
  paint(read) {
    const { flow } = this;
    const total = flow.tokens.length;
    const width = this.embeddings.length / total;
    const colour = scale(this.colours.diverging);
    this.rows.forEach((row, index) => {
      const strip = find(row, "canvas", HTMLCanvasElement);
      strip.width = width;
      strip.height = 1;
      if (index >= read) return;
      const pen = penOf(strip);
      for (let at = 0; at < width; at++) {
        pen.fillStyle = `rgb(${colour(0.5 + this.embeddings[index * width + at] / 254)})`;
        pen.fillRect(at, 0, 1, 1);
      }
    });
    this.layers.forEach(({ canvases }, layer) => {
      canvases.forEach((canvas, head) => {
        this.paintMap(canvas, (layer * flow.num_heads + head) * total * total, total, read);
      });
    });
  }

  /**
   * Paint one head's map. It grows with the text: its last row is the newest character, which looks back.
   * @param {HTMLCanvasElement} canvas
   * @param {number} offset Where this head's weights begin.
   * @param {number} total Tokens of the finished text.
   * @param {number} read How many of them have been read.
   */
  paintMap(canvas, offset, total, read) {
    const cell = Math.max(4, Math.floor(176 / read));
    const size = cell * read;
    canvas.width = size;
    canvas.height = size;
    const pen = penOf(canvas);
    const colour = scale(this.colours.sequential);
    hatch(pen, { x: 0, y: 0, size }, { step: 11, width: 1.5 }, this.colours);
    for (let query = 0; query < read; query++) {
      for (let key = 0; key <= query; key++) {
        pen.fillStyle = `rgb(${colour(this.attention[offset + query * total + key] / 255)})`;
        pen.fillRect(key * cell, query * cell, cell, cell);
      }
    }
    pen.strokeStyle = this.colours.query;
    pen.lineWidth = 3;
    pen.strokeRect(1.5, size - cell + 1.5, size - 3, cell - 3);
  }

  drawRibbons() {
    this.svg.replaceChildren();
    const box = this.stage.getBoundingClientRect();
    if (box.width < 640) return;
    this.svg.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    /** @param {HTMLElement} node */
    const at = (node) => {
      const rect = node.getBoundingClientRect();
      return { left: rect.left - box.left, right: rect.right - box.left, middle: rect.top + rect.height / 2 - box.top };
    };
    const { phase, flow, step } = this;
    const read = flow.num_prompt + step;
    const rows = this.rows.slice(0, read).map(at);
    const cards = this.layers.map(({ maps }) => at(maps));
    rows.forEach((row, index) => {
      const kind = index === read - 1 ? "ribbon last" : "ribbon";
      cards.forEach((card, layer) => {
        const from = layer ? cards[layer - 1] : row;
        const isMoving = phase === layer + 1 || (layer === 0 && phase === 0);
        this.ribbon(kind, from.right + 4, row.middle, card.left - 4, row.middle, isMoving);
      });
    });
    const from = cards[cards.length - 1].right + 4;
    const start = rows[read - 1].middle;
    const choice = flow.choices[step];
    this.bars.forEach((bar, index) => {
      const to = at(bar);
      const isChosen = phase === this.lastPhase && index === choice.chosen;
      const kind = isChosen ? "ribbon chosen" : "ribbon odds";
      const path = this.ribbon(kind, from, start, to.left - 4, to.middle, phase > flow.num_layers);
      path.style.strokeWidth = `${Math.max(1, 14 * choice.candidates[index][1])}px`;
    });
  }

  /**
   * @param {string} kind
   * @param {number} x1
   * @param {number} y1
   * @param {number} x2
   * @param {number} y2
   * @param {boolean} isMoving
   */
  ribbon(kind, x1, y1, x2, y2, isMoving) {
    const bend = (x2 - x1) / 2;
    const path = makeSvg("path", {
      d: `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`,
      class: isMoving ? `${kind} on` : kind,
    });
    this.svg.append(path);
    return path;
  }
}

// ---- small helpers

/** @param {string} text */
function visible(text) {
  return text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
}

/** @param {string} text As base64. */
function decode(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
