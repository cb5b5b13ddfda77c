// Every head of the model at a glance, on one canvas: layers downwards, heads to the right.
//
// A message holds one byte for each weight (0..255 for 0..1), layer by layer, head by head, query by query. Hovering,
// tapping and the arrow keys are answered here without asking the server; only opening a head goes back to it.

import {
  find,
  hatch,
  keep,
  lookUp,
  make,
  penOf,
  percent,
  setColours,
  shownColours,
  styleOf,
  unpack,
} from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/**
 * @typedef {object} Colours
 * @property {string} attention
 * @property {string} query
 * @property {string} text
 * @property {string} border
 * @property {string} secondary
 * @property {string} blocked
 * @property {string[]} sequential
 */

/**
 * What Python packs in `attention_grid.message`.
 * @typedef {object} Header
 * @property {number} layers
 * @property {number} heads
 * @property {number} length Tokens of the text.
 * @property {string[]} tokens
 * @property {string[][]} captions A word or two for each layer and head.
 * @property {string[][]} descriptions A sentence for each layer and head.
 * @property {[number, number]} selected Layer and head that are open.
 * @property {{ layer: string, head: string, blocked: string, hint: string }} words
 * @property {boolean} compact Whether the server believes that the grid is on a phone.
 * @property {boolean} causal Whether the mask forbids what lies ahead.
 * @property {number[][]} full For each layer and head the weight from which on its colour is the strongest.
 */

/** @typedef {Header & Themes<Colours> & { bytes: Uint8Array }} Message */

const GAP = 8;
const LARGEST = 190;
const SMALLEST = 18;
const TALLEST = 620;
const COMPACT = 430;
const MARGIN = 4; // right and below, for the outline of the open head
const LEFT = 22; // room for the layers' names
const TOP = 20; // room for the heads' names

/** @param {Component<Uint8Array>} component */
export default function (component) {
  return keep(component, GridView);
}

class GridView {
  /** @type {Component<Uint8Array>} The last call. */
  component;
  /** @type {Message} */
  model;
  /** @type {Colours} The colours that were painted last. */
  colours;
  /** @type {{ cell: number, gap: number, below: number, height: number }} */
  layout;
  /** @type {HTMLButtonElement[]} */
  buttons = [];
  /** Width of all heads side by side; more than `shown` where they do not fit, then the grid scrolls. */
  width = 0;
  shown = 0;
  /** @type {boolean | undefined} What the server was told last about being on a phone. */
  reported;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".grid");
    this.canvas = find(this.root, "canvas", HTMLCanvasElement);
    this.heads = find(this.root, ".heads");
    this.cursor = find(this.root, ".cursor");
    this.tip = find(this.root, ".tip");
    this.hint = find(parent, ".hint");
    this.observer = new ResizeObserver(() => {
      if (this.model && this.root.clientWidth !== this.shown) this.draw();
    });
  }

  wake() {
    this.observer.observe(this.root);
  }

  rest() {
    this.observer.disconnect();
  }

  /** @param {Component<Uint8Array>} component */
  update(component) {
    const before = this.model;
    this.model = unpack(component.data);
    this.component = component;
    const isPainted = before && this.colours === shownColours(this.parent, before);
    if (isPainted && isSame(before, this.model)) {
      this.colours = this.colours === before.dark ? this.model.dark : this.model.light;
      return; // the press that asked for this has been drawn already
    }
    this.leave();
    this.draw();
  }

  // ---- layout

  measure() {
    const { layers, heads } = this.model;
    this.shown = this.root.clientWidth;
    const byWidth = (this.shown - LEFT - MARGIN - GAP * (heads - 1)) / heads;
    const hasCaptions = byWidth >= 78;
    const room = hasCaptions ? 17 : 0;
    const byHeight = (TALLEST - TOP) / layers - GAP - room;
    const cell = Math.floor(Math.max(SMALLEST, Math.min(LARGEST, byWidth, Math.max(44, byHeight))));
    const gap = byWidth < SMALLEST + 4 ? 2 : GAP;
    const below = cell >= 70 ? room : 0;
    this.width = Math.max(this.shown, LEFT + heads * (cell + gap) - gap + MARGIN);
    this.layout = { cell, gap, below, height: TOP + layers * (cell + below + gap) - gap + MARGIN };
  }

  /**
   * @param {number} layer
   * @param {number} head
   */
  corner(layer, head) {
    const { cell, gap, below } = this.layout;
    return [LEFT + head * (cell + gap), TOP + layer * (cell + below + gap)];
  }

  draw() {
    if (!this.root.clientWidth) return;
    this.measure();
    this.reportWidth();
    this.paint();
    this.placeButtons();
    this.hint.textContent = this.model.words.hint;
  }

  reportWidth() {
    const compact = this.shown < COMPACT;
    if (compact !== this.model.compact && compact !== this.reported) {
      this.reported = compact;
      this.component.setStateValue("compact", compact);
    }
  }

  // ---- painting

  paint() {
    const { layers, heads, selected, words } = this.model;
    const { cell, height } = this.layout;
    const style = styleOf(this.parent);
    this.colours = shownColours(this.parent, this.model);
    const { text, sequential } = this.colours;
    setColours(this.root, this.colours);
    const ratio = Math.max(1, window.devicePixelRatio || 1);
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    this.canvas.style.width = `${this.width}px`;
    this.root.style.overflowX = this.width > this.shown ? "auto" : "";
    const pen = penOf(this.canvas);
    pen.scale(ratio, ratio);
    const font = style.getPropertyValue("--st-font") || "sans-serif";
    pen.fillStyle = text;
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    const isSmall = cell < 52;
    pen.font = `${isSmall ? 11 : 12}px ${font}`;
    for (let head = 0; head < heads; head += cell < 16 ? 4 : 1) {
      const name = isSmall ? `${head + 1}` : `${words.head} ${head + 1}`;
      pen.fillText(name, this.corner(0, head)[0] + cell / 2, TOP / 2);
    }
    for (let layer = 0; layer < layers; layer++) {
      pen.save();
      pen.translate(LEFT / 2 - 2, this.corner(layer, 0)[1] + cell / 2);
      pen.rotate(-Math.PI / 2);
      pen.fillText(isSmall ? `${layer + 1}` : `${words.layer} ${layer + 1}`, 0, 0);
      pen.restore();
    }
    const table = lookUp(sequential);
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) this.paintHead(pen, layer, head, table, ratio, font);
    }
    this.outline(pen, ...selected);
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {number} layer
   * @param {number} head
   * @param {Uint32Array} table The colour of each byte.
   * @param {number} ratio Pixels of the screen for one of the page.
   * @param {string} font
   */
  paintHead(pen, layer, head, table, ratio, font) {
    const { bytes, length, captions, causal, full, heads } = this.model;
    const { cell, below } = this.layout;
    const [x, y] = this.corner(layer, head);
    const offset = (layer * heads + head) * length * length;
    const image = rasterise(bytes, offset, length, Math.round(cell * ratio), stretched(table, full[layer][head]));
    pen.putImageData(image, Math.round(x * ratio), Math.round(y * ratio));
    if (causal) hatchAhead(pen, x, y, cell, length, this.colours);
    pen.strokeStyle = this.colours.border;
    pen.lineWidth = 1;
    pen.strokeRect(x - 0.5, y - 0.5, cell + 1, cell + 1);
    if (below) {
      pen.font = `11px ${font}`;
      pen.textAlign = "center";
      pen.fillStyle = this.colours.text;
      pen.fillText(captions[layer][head], x + cell / 2, y + cell + below / 2 + 1, cell);
    }
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {number} layer
   * @param {number} head
   */
  outline(pen, layer, head) {
    const [x, y] = this.corner(layer, head);
    pen.strokeStyle = this.colours.attention;
    pen.lineWidth = 3;
    pen.strokeRect(x - 1.5, y - 1.5, this.layout.cell + 3, this.layout.cell + 3);
  }

  // ---- one real button for each head: for keyboards, screen readers, fingers and mice alike

  placeButtons() {
    const { layers, heads, selected, descriptions } = this.model;
    const total = layers * heads;
    while (this.buttons.length > total) this.buttons.pop()?.remove();
    while (this.buttons.length < total) this.buttons.push(this.makeButton(this.buttons.length));
    this.buttons.forEach((button, index) => {
      const layer = Math.floor(index / heads);
      const head = index % heads;
      const [x, y] = this.corner(layer, head);
      const isOpen = layer === selected[0] && head === selected[1];
      button.style.cssText = `left:${x}px;top:${y}px;width:${this.layout.cell}px;height:${this.layout.cell}px`;
      button.setAttribute("aria-label", descriptions[layer][head]);
      button.setAttribute("aria-pressed", String(isOpen));
      button.dataset.head = `${layer + 1}.${head + 1}`;
      button.tabIndex = isOpen ? 0 : -1;
    });
  }

  /** @param {number} index */
  makeButton(index) {
    const button = make("button");
    button.type = "button";
    /** @returns {[number, number]} Layer and head; another model may have another number of heads. */
    const place = () => [Math.floor(index / this.model.heads), index % this.model.heads];
    button.onpointermove = (event) => this.point(event, ...place());
    button.onpointerdown = (event) => this.point(event, ...place());
    button.onpointerleave = (event) => event.pointerType === "mouse" && this.leave();
    button.onclick = (event) => this.open(...place(), event.detail ? this.cellAt(event, ...place()) : null);
    button.onfocus = () => button.matches(":focus-visible") && this.describe(...place());
    button.onblur = () => this.leave();
    button.onkeydown = (event) => {
      const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
      if (!move) return;
      event.preventDefault();
      const [layer, head] = place();
      const next = [layer + move[0], head + move[1]];
      if (next[0] < 0 || next[0] >= this.model.layers || next[1] < 0 || next[1] >= this.model.heads) return;
      this.buttons[next[0] * this.model.heads + next[1]].focus();
    };
    this.heads.append(button);
    return button;
  }

  /**
   * Return the query and key under the mouse.
   * @param {MouseEvent} event
   * @param {number} layer
   * @param {number} head
   */
  cellAt(event, layer, head) {
    const [x, y] = this.corner(layer, head);
    const box = this.root.getBoundingClientRect();
    const { length } = this.model;
    /** @param {number} at Pixels from the map's edge. */
    const index = (at) => Math.max(0, Math.min(length - 1, Math.floor((at / this.layout.cell) * length)));
    return { query: index(event.clientY - box.top - y), key: index(event.clientX - box.left - x) };
  }

  /**
   * @param {MouseEvent} event
   * @param {number} layer
   * @param {number} head
   */
  point(event, layer, head) {
    const { bytes, causal, length, heads, tokens, words } = this.model;
    const { query, key } = this.cellAt(event, layer, head);
    const weight = bytes[((layer * heads + head) * length + query) * length + key] / 255;
    const [x, y] = this.corner(layer, head);
    const step = this.layout.cell / length;
    const wide = Math.max(step, 3);
    const middle = { x: x + (key + 0.5) * step, y: y + (query + 0.5) * step };
    this.cursor.style.cssText =
      `left:${middle.x - wide / 2}px;top:${middle.y - wide / 2}px;` + `width:${wide}px;height:${wide}px;display:block`;
    const value = causal && key > query ? words.blocked : make("b", "", percent(weight));
    const line = [make("b", "", `${words.head} ${layer + 1}.${head + 1}`), " "];
    line.push(make("bdi", "", tokens[query]), ` ${query + 1} → `, make("bdi", "", tokens[key]), ` ${key + 1} `, value);
    this.say(line, middle.x, middle.y);
  }

  /**
   * @param {number} layer
   * @param {number} head
   */
  describe(layer, head) {
    const [x, y] = this.corner(layer, head);
    this.cursor.style.display = "none";
    this.say([this.model.descriptions[layer][head]], x + this.layout.cell / 2, y + this.layout.cell / 3);
  }

  /**
   * Show a tip over a place, or under it where there is no room above.
   * @param {(Node | string)[]} parts
   * @param {number} x
   * @param {number} y
   */
  say(parts, x, y) {
    this.tip.replaceChildren(...parts);
    this.tip.style.display = "block";
    const { offsetWidth, offsetHeight } = this.tip;
    const left = Math.max(0, Math.min(this.width - offsetWidth, x - offsetWidth / 2));
    const above = y - offsetHeight - 14;
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${above < -24 ? y + 18 : above}px`;
  }

  leave() {
    this.tip.style.display = "none";
    this.cursor.style.display = "none";
  }

  /**
   * @param {number} layer
   * @param {number} head
   * @param {{ query: number } | null} cell
   */
  open(layer, head, cell) {
    this.model.selected = [layer, head];
    this.paint();
    this.placeButtons();
    this.component.setTriggerValue("opened", { layer, head, query: cell ? cell.query : null });
  }
}

// ---- small helpers

/**
 * @param {Message} one
 * @param {Message} other
 */
function isSame({ bytes, ...header }, { bytes: otherBytes, ...otherHeader }) {
  return (
    JSON.stringify(header) === JSON.stringify(otherHeader) &&
    bytes.every((weight, index) => weight === otherBytes[index])
  );
}

/**
 * Return the table of colours that reaches its strongest colour at a weight below 1.
 * @param {Uint32Array} table The colour of each byte.
 * @param {number} full The weight.
 */
function stretched(table, full) {
  return full === 1 ? table : table.map((_, byte) => table[Math.min(255, Math.round(byte / full))]);
}

/**
 * Paint one head's weights. A pixel that covers several weights shows the largest: averaging would fade the thin
 * diagonals that matter most.
 * @param {Uint8Array} weights Of all heads.
 * @param {number} offset Where this head's weights begin.
 * @param {number} length Tokens.
 * @param {number} size Pixels.
 * @param {Uint32Array} table The colour of each byte.
 */
function rasterise(weights, offset, length, size, table) {
  const image = new ImageData(size, size);
  const pixels = new Uint32Array(image.data.buffer);
  const from = new Int32Array(size);
  const to = new Int32Array(size);
  for (let i = 0; i < size; i++) {
    from[i] = Math.floor((i * length) / size);
    to[i] = Math.max(from[i] + 1, length > size ? Math.ceil(((i + 1) * length) / size) : 0);
  }
  for (let row = 0; row < size; row++) {
    for (let column = 0; column < size; column++) {
      let most = 0;
      for (let query = from[row]; query < to[row]; query++) {
        const start = offset + query * length;
        for (let key = from[column]; key < to[column]; key++) most = Math.max(most, weights[start + key]);
      }
      pixels[row * size + column] = table[most];
    }
  }
  return image;
}

/**
 * Hatch what lies ahead of each query, a staircase over the diagonal.
 * @param {CanvasRenderingContext2D} pen
 * @param {number} x
 * @param {number} y
 * @param {number} size
 * @param {number} length Tokens.
 * @param {Colours} colours
 */
function hatchAhead(pen, x, y, size, length, colours) {
  if (length < 2) return;
  const step = size / length;
  pen.save();
  pen.beginPath();
  pen.moveTo(x + step, y);
  pen.lineTo(x + size, y);
  pen.lineTo(x + size, y + size - step);
  for (let query = length - 2; query >= 0; query--) {
    pen.lineTo(x + (query + 1) * step, y + (query + 1) * step);
    pen.lineTo(x + (query + 1) * step, y + query * step);
  }
  pen.closePath();
  pen.clip();
  hatch(pen, { x, y, size }, { step: 5, width: 1 }, colours);
  pen.restore();
}
