// Every head and feed-forward block of the model as a switch: layers downwards, heads to the right, feed-forward last.
//
// Which are off is kept here, so that a press answers at once and quick presses never fall back; the server hears of
// it. When the server moves them (`moved` has grown) its word counts.

import { isDark, keep } from "../shared.js";

const DENSE = 8; // with more heads than these, narrower switches with smaller names

export default function (component) {
  return keep(component, Board);
}

class Board {
  constructor(parent) {
    this.host = parent.host ?? parent;
    this.root = parent.querySelector(".board");
    this.hint = parent.querySelector(".hint");
    this.off = new Set();
    this.shape = "";
    this.root.addEventListener("keydown", (event) => this.key(event));
    // Another theme changes the colours without a word to components.
    this.watch = new MutationObserver(() => this.colour());
  }

  wake() {
    this.watch.observe(document.documentElement, { attributes: true });
  }

  rest() {
    this.watch.disconnect();
  }

  update({ data, setTriggerValue }) {
    const shape = `${data.layers}x${data.heads}`;
    if (shape !== this.shape || data.moved !== this.data.moved) this.off = new Set(data.off);
    this.data = data;
    this.setTriggerValue = setTriggerValue;
    if (shape !== this.shape) this.build();
    this.shape = shape;
    this.root.setAttribute("aria-label", data.words.label);
    this.hint.textContent = data.words.hint;
    this.colour();
    this.draw();
  }

  colour() {
    const colours = isDark(getComputedStyle(this.host)) ? this.data.dark : this.data.light;
    for (const [name, colour] of Object.entries(colours)) this.root.style.setProperty(`--${name}`, colour);
  }

  build() {
    const { layers, heads, words } = this.data;
    this.root.classList.toggle("dense", heads > DENSE);
    this.root.style.setProperty("--heads", heads);
    this.rows = [];
    this.switches = [];
    const cells = [];
    for (let layer = 0; layer < layers; layer++) {
      const row = [];
      const whole = this.make("whole", `${words.layer} ${layer + 1}`, () => this.pressLayer(layer));
      this.rows.push(whole);
      row.push(whole);
      for (let column = 0; column <= heads; column++) {
        const index = layer * (heads + 1) + column;
        const name = column < heads ? `${layer + 1}.${column + 1}` : `FF ${layer + 1}`;
        const button = this.make(column < heads ? "head" : "feedforward", name, () => this.press(index));
        button.dataset.part = name;
        this.switches.push(button);
        row.push(button);
      }
      cells.push(row);
    }
    this.cells = cells;
    cells.flat().forEach((button, i) => { button.tabIndex = i === 1 ? 0 : -1; });
    this.root.replaceChildren(...cells.flat());
  }

  make(kind, name, press) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = kind;
    button.setAttribute("role", "switch");
    const title = document.createElement("b");
    title.textContent = name;
    const note = document.createElement("small");
    const bar = document.createElement("span");
    bar.className = "bar";
    button.append(title, note, bar);
    button.onclick = press;
    return button;
  }

  draw() {
    const { heads, importance, words, unit } = this.data;
    const most = importance ? Math.max(1e-9, ...importance.flat().map(Math.abs)) : 1;
    this.switches.forEach((button, index) => {
      const layer = Math.floor(index / (heads + 1)), column = index % (heads + 1);
      const isOn = !this.off.has(index);
      const cost = importance ? importance[layer][column] : null;
      const kind = column < heads ? words.head : words.feedforward;
      const number = column < heads ? button.dataset.part : `${layer + 1}`;
      const measured = cost === null ? "" : `, ${signed(cost)} ${unit}`;
      button.setAttribute("aria-checked", String(isOn));
      button.setAttribute("aria-label", `${kind} ${number}: ${isOn ? words.on : words.off}${measured}`);
      button.title = button.getAttribute("aria-label");
      button.querySelector("small").textContent = cost !== null ? signed(cost) : isOn ? "" : words.off;
      const bar = button.querySelector(".bar");
      bar.className = `bar ${cost > 0 ? "up" : "down"}`;
      bar.style.width = cost === null ? "0" : `${(Math.abs(cost) / most) * 100}%`;
    });
    this.rows.forEach((button, layer) => {
      const isOn = this.layer(layer).some((index) => !this.off.has(index));
      button.setAttribute("aria-checked", String(isOn));
      button.setAttribute("aria-label", `${words.whole} ${layer + 1}: ${isOn ? words.on : words.off}`);
    });
  }

  layer(layer) {
    const width = this.data.heads + 1;
    return Array.from({ length: width }, (_, column) => layer * width + column);
  }

  press(index) {
    if (!this.off.delete(index)) this.off.add(index);
    this.tell();
  }

  pressLayer(layer) {
    const parts = this.layer(layer);
    const turnOff = parts.some((index) => !this.off.has(index));
    for (const index of parts) turnOff ? this.off.add(index) : this.off.delete(index);
    this.tell();
  }

  tell() {
    this.draw();
    this.setTriggerValue("switched", [...this.off]);
  }

  // One stop for the Tab key; the arrow keys go from switch to switch, Space and Enter press.
  key(event) {
    const move = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
    if (!move) return;
    const at = this.cells.flat().indexOf(event.target.closest("button"));
    if (at < 0) return;
    event.preventDefault();
    const width = this.data.heads + 2;
    const row = Math.floor(at / width) + move[0], column = (at % width) + move[1];
    const next = this.cells[row]?.[column];
    if (!next) return;
    for (const button of this.cells.flat()) button.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

function signed(value) {
  const text = Math.abs(value) < 0.005 ? "0.00" : Math.abs(value).toFixed(2);
  return text === "0.00" ? "0.00" : `${value < 0 ? "−" : "+"}${text}`;
}
