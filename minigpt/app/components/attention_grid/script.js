// Every head of the model at a glance, on one canvas: layers downwards, heads to the right.
//
// One message: four bytes that give the header's length (little endian), the header as JSON, then one byte a weight
// (0..255 for 0..1), layer by layer, head by head, query by query. Hovering, tapping and the arrow keys are answered
// here without asking the server; only opening a head goes back to it.

import { isDark, keep, lookUp, percent, unpack } from "../shared.js";

const GAP = 8;
const LARGEST = 190;
const SMALLEST = 18;
const TALLEST = 620;
const COMPACT = 430;
const MARGIN = 4; // right and below, for the outline of the open head

export default function (component) {
  return keep(component, GridView);
}

function isSame(one, other) {
  const [{ bytes, ...rest }, { bytes: otherBytes, ...otherRest }] = [one, other];
  return (
    JSON.stringify(rest) === JSON.stringify(otherRest) && bytes.every((weight, index) => weight === otherBytes[index])
  );
}

class GridView {
  constructor(parent) {
    this.host = parent.host ?? parent;
    this.root = parent.querySelector(".grid");
    this.canvas = this.root.querySelector("canvas");
    this.heads = this.root.querySelector(".heads");
    this.cursor = this.root.querySelector(".cursor");
    this.tip = this.root.querySelector(".tip");
    this.hint = parent.querySelector(".hint");
    this.buttons = [];
    this.width = 0;
    this.observer = new ResizeObserver(() => {
      if (this.model && this.root.clientWidth !== this.width) this.draw();
    });
  }

  wake() {
    this.observer.observe(this.root);
  }

  rest() {
    this.observer.disconnect();
  }

  update({ data, setStateValue, setTriggerValue }) {
    const before = this.model;
    this.model = unpack(data);
    this.setStateValue = setStateValue;
    this.setTriggerValue = setTriggerValue;
    const isPainted = before && this.colours === (isDark(getComputedStyle(this.host)) ? before.dark : before.light);
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
    this.width = this.root.clientWidth;
    const left = 22, top = 20;
    const byWidth = (this.width - left - MARGIN - GAP * (heads - 1)) / heads;
    const captions = byWidth >= 78;
    const below = captions ? 17 : 0;
    const byHeight = (TALLEST - top) / layers - GAP - below;
    const cell = Math.floor(Math.max(SMALLEST, Math.min(LARGEST, byWidth, Math.max(44, byHeight))));
    const gap = byWidth < SMALLEST + 4 ? 2 : GAP;
    this.layout = { left, top, cell, gap, below: cell >= 70 && captions ? below : 0 };
    this.layout.height = top + layers * (cell + this.layout.below + gap) - gap + MARGIN;
  }

  corner(layer, head) {
    const { left, top, cell, gap, below } = this.layout;
    return [left + head * (cell + gap), top + layer * (cell + below + gap)];
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
    const compact = this.width < COMPACT;
    if (compact !== this.model.compact && compact !== this.reported) {
      this.reported = compact;
      this.setStateValue("compact", compact);
    }
  }

  // ---- painting

  paint() {
    const { layers, heads, selected } = this.model;
    const { cell, height, left, top } = this.layout;
    const style = getComputedStyle(this.host);
    const colours = isDark(style) ? this.model.dark : this.model.light;
    this.colours = colours;
    const ratio = Math.max(1, window.devicePixelRatio || 1);
    this.canvas.width = Math.round(this.width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.canvas.style.height = `${height}px`;
    this.root.style.setProperty("--attention", colours.attention);
    this.root.style.setProperty("--query", colours.query);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const font = style.getPropertyValue("--st-font") || "sans-serif";
    pen.fillStyle = colours.text;
    pen.textBaseline = "middle";
    pen.textAlign = "center";
    const small = cell < 52;
    pen.font = `${small ? 10 : 12}px ${font}`;
    for (let head = 0; head < heads; head++) {
      const every = cell < 16 ? 4 : 1;
      if (head % every) continue;
      pen.fillText(small ? `${head + 1}` : `${this.model.words.head} ${head + 1}`, this.corner(0, head)[0] + cell / 2, top / 2);
    }
    for (let layer = 0; layer < layers; layer++) {
      pen.save();
      pen.translate(left / 2 - 2, this.corner(layer, 0)[1] + cell / 2);
      pen.rotate(-Math.PI / 2);
      pen.fillText(small ? `${layer + 1}` : `${this.model.words.layer} ${layer + 1}`, 0, 0);
      pen.restore();
    }
    const table = lookUp(colours.sequential);
    for (let layer = 0; layer < layers; layer++) {
      for (let head = 0; head < heads; head++) this.paintHead(pen, layer, head, table, ratio, font);
    }
    this.outline(pen, selected[0], selected[1]);
  }

  paintHead(pen, layer, head, table, ratio, font) {
    const { length, captions, heads } = this.model;
    const { cell, below } = this.layout;
    const [x, y] = this.corner(layer, head);
    const colours = this.colours;
    const size = Math.round(cell * ratio);
    const offset = (layer * heads + head) * length * length;
    const image = rasterise(this.model.bytes, offset, length, size, table);
    pen.putImageData(image, Math.round(x * ratio), Math.round(y * ratio));
    if (this.model.causal) hatch(pen, x, y, cell, length, colours);
    pen.strokeStyle = colours.border;
    pen.lineWidth = 1;
    pen.strokeRect(x - 0.5, y - 0.5, cell + 1, cell + 1);
    if (below) {
      pen.font = `11px ${font}`;
      pen.textAlign = "center";
      pen.fillStyle = colours.text;
      pen.fillText(captions[layer][head], x + cell / 2, y + cell + below / 2 + 1, cell);
    }
  }

  outline(pen, layer, head) {
    const [x, y] = this.corner(layer, head);
    pen.strokeStyle = this.colours.attention;
    pen.lineWidth = 3;
    pen.strokeRect(x - 1.5, y - 1.5, this.layout.cell + 3, this.layout.cell + 3);
  }

  // ---- one real button a head: for keyboards, screen readers, fingers and mice alike

  placeButtons() {
    const { layers, heads, selected, descriptions } = this.model;
    const total = layers * heads;
    while (this.buttons.length > total) this.buttons.pop().remove();
    while (this.buttons.length < total) this.buttons.push(this.makeButton(this.buttons.length));
    this.buttons.forEach((button, index) => {
      const layer = Math.floor(index / heads), head = index % heads;
      const [x, y] = this.corner(layer, head);
      const chosen = layer === selected[0] && head === selected[1];
      button.style.cssText = `left:${x}px;top:${y}px;width:${this.layout.cell}px;height:${this.layout.cell}px`;
      button.setAttribute("aria-label", descriptions[layer][head]);
      button.setAttribute("aria-pressed", String(chosen));
      button.dataset.head = `${layer + 1}.${head + 1}`;
      button.tabIndex = chosen ? 0 : -1;
    });
  }

  makeButton(index) {
    const button = document.createElement("button");
    button.type = "button";
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

  cellAt(event, layer, head) {
    const [x, y] = this.corner(layer, head);
    const box = this.root.getBoundingClientRect();
    const { length } = this.model;
    const index = (at) => Math.max(0, Math.min(length - 1, Math.floor((at / this.layout.cell) * length)));
    return { query: index(event.clientY - box.top - y), key: index(event.clientX - box.left - x) };
  }

  point(event, layer, head) {
    const { length, heads, tokens, words } = this.model;
    const { query, key } = this.cellAt(event, layer, head);
    const weight = this.model.bytes[((layer * heads + head) * length + query) * length + key] / 255;
    const [x, y] = this.corner(layer, head);
    const step = this.layout.cell / length;
    const wide = Math.max(step, 3);
    this.cursor.style.cssText =
      `left:${x + (key + 0.5) * step - wide / 2}px;top:${y + (query + 0.5) * step - wide / 2}px;` +
      `width:${wide}px;height:${wide}px;display:block`;
    const line = [bold(`${words.head} ${layer + 1}.${head + 1}`), " ", token(tokens[query]), ` ${query + 1} → `,
      token(tokens[key]), ` ${key + 1} `];
    line.push(this.model.causal && key > query ? words.blocked : bold(percent(weight)));
    this.say(line, x + (key + 0.5) * step, y + (query + 0.5) * step);
  }

  describe(layer, head) {
    const [x, y] = this.corner(layer, head);
    this.cursor.style.display = "none";
    this.say([this.model.descriptions[layer][head]], x + this.layout.cell / 2, y + this.layout.cell / 3);
  }

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

  open(layer, head, cell) {
    this.model.selected = [layer, head];
    this.paint();
    this.placeButtons();
    this.setTriggerValue("opened", { layer, head, query: cell ? cell.query : null });
  }
}

// ---- small helpers

function bold(text) {
  const element = document.createElement("b");
  element.textContent = text;
  return element;
}

function token(text) {
  const element = document.createElement("bdi");
  element.textContent = text;
  return element;
}

// Where a pixel covers several weights it shows the largest: averaging would fade the thin diagonals that matter most.
function rasterise(weights, offset, length, size, table) {
  const image = new ImageData(size, size);
  const pixels = new Uint32Array(image.data.buffer);
  const from = new Int32Array(size), to = new Int32Array(size);
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

function hatch(pen, x, y, cell, length, colours) {
  if (length < 2) return;
  const step = cell / length;
  pen.save();
  pen.beginPath();
  pen.moveTo(x + step, y);
  pen.lineTo(x + cell, y);
  pen.lineTo(x + cell, y + cell - step);
  for (let query = length - 2; query >= 0; query--) {
    pen.lineTo(x + (query + 1) * step, y + (query + 1) * step);
    pen.lineTo(x + (query + 1) * step, y + query * step);
  }
  pen.closePath();
  pen.clip();
  pen.fillStyle = colours.secondary;
  pen.fillRect(x, y, cell, cell);
  pen.strokeStyle = colours.blocked;
  pen.lineWidth = 1;
  pen.beginPath();
  for (let at = 0; at < 2 * cell; at += 5) {
    pen.moveTo(x + at, y);
    pen.lineTo(x + at - cell, y + cell);
  }
  pen.stroke();
  pen.restore();
}
