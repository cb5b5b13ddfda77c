// The whole model with a text flowing through it: tokens become numbers, the residual stream runs down through a tower of
// equal blocks, one of which is open, and leaves as a probability for every next token.
//
// One message: four bytes that give the header's length (little endian), the header as JSON, then the pictures, a byte a
// number. Stepping and pressing show at once; what is opened goes back to the server, which shows all of its numbers.

import { isDark, keep, lookUp, make, percent, unpack } from "../shared.js";

const COMPACT = 430;
const CHIPS = 28; // tokens shown around the one that is followed

export default function (component) {
  return keep(component, ForwardView);
}

class ForwardView {
  constructor(parent) {
    this.host = parent.host ?? parent;
    this.root = parent.querySelector(".forward");
    this.find = (name) => this.root.querySelector(name);
    this.tower = this.find(".tower");
    this.svg = this.find("svg");
    this.find(".back").onclick = () => this.walk(-1);
    this.find(".ahead").onclick = () => this.walk(1);
    this.find(".see").onclick = () => this.scrollPast();
    this.tower.onkeydown = (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by || !event.target.closest("[data-box]")) return;
      event.preventDefault();
      this.walk(by, true);
    };
    this.observer = new ResizeObserver(() => {
      if (!this.model) return;
      this.reportWidth();
      this.drawWires();
    });
  }

  wake() {
    this.observer.observe(this.root);
  }

  rest() {
    this.observer.disconnect();
  }

  update({ data, setStateValue, setTriggerValue }) {
    this.model = unpack(data);
    this.setStateValue = setStateValue;
    this.setTriggerValue = setTriggerValue;
    const { model } = this;
    // A message that was on its way while the reader walked on must not take the picture back.
    if (this.wanted && this.wanted.layer === model.layer && this.wanted.name !== model.opened) {
      model.number += this.order().indexOf(this.wanted.name) - this.order().indexOf(model.opened);
      model.opened = this.wanted.name;
    } else if (this.wanted && this.wanted.name === model.opened) {
      this.wanted = null;
    }
    const dark = isDark(getComputedStyle(this.host));
    this.colours = dark ? model.dark : model.light;
    for (const [name, colour] of Object.entries(this.colours)) {
      if (typeof colour === "string") this.root.style.setProperty(`--${name}`, colour);
    }
    this.tables = { sequential: lookUp(this.colours.sequential), diverging: lookUp(this.colours.diverging) };
    const root = this.root.getRootNode();
    const focused = root.activeElement && this.tower.contains(root.activeElement) ? root.activeElement : null;
    this.build();
    if (focused) {
      const again = focused.dataset.chip ? `[data-chip="${model.position}"]` : `[data-box="${model.opened}"]`;
      this.tower.querySelector(focused.matches("select") ? "select" : again)?.focus({ preventScroll: true });
    }
    this.reportWidth();
    requestAnimationFrame(() => this.drawWires());
  }

  reportWidth() {
    const compact = this.root.clientWidth > 0 && this.root.clientWidth < COMPACT;
    if (compact !== this.model.compact && compact !== this.reported) {
      this.reported = compact;
      this.setStateValue("compact", compact);
    }
  }

  // ---- walking

  order() {
    return this.model.boxes.map((box) => box.name);
  }

  walk(by, focus = false) {
    const { boxes, layer, layers, number, total } = this.model;
    if (number + by < 1 || number + by > total) return;
    const index = boxes.findIndex((box) => box.name === this.model.opened);
    const inside = boxes.filter((box) => box.layer !== null);
    const here = boxes[index], there = boxes[index + by];
    // Out of a block at its end goes into the next block at its beginning, and the other way round.
    const leaves = here.layer !== null && there?.layer == null;
    const enters = here.layer === null && there?.layer != null;
    if (leaves && layer + by >= 0 && layer + by < layers) {
      this.open((by > 0 ? inside[0] : inside.at(-1)).name, layer + by, number + by, focus);
    } else if (enters && layer !== (by > 0 ? 0 : layers - 1)) {
      this.open(there.name, by > 0 ? 0 : layers - 1, number + by, focus);
    } else {
      this.open(there.name, layer, number + by, focus);
    }
  }

  open(name, layer, number, focus) {
    this.wanted = { name, layer };
    clearTimeout(this.forget);
    this.forget = setTimeout(() => (this.wanted = null), 4000);
    this.setTriggerValue("opened", { layer, name });
    if (number !== undefined) this.model.number = number;
    if (layer !== this.model.layer) {
      this.root.classList.add("moving");
      return;
    }
    this.model.opened = name;
    this.mark();
    this.drawWires();
    const box = this.tower.querySelector(`[data-box="${name}"]`);
    if (focus) box.focus({ preventScroll: true });
    if (this.root.clientWidth < COMPACT) box.scrollIntoView({ block: "center", behavior: calm() ? "auto" : "smooth" });
  }

  press(box) {
    const order = this.order();
    const { layers, layer, boxes } = this.model;
    const inside = boxes.filter((other) => other.layer !== null).length;
    const first = boxes.findIndex((other) => other.layer !== null);
    let number = order.indexOf(box.name) + 1;
    if (box.layer !== null) number += layer * inside;
    else if (number > first) number += (layers - 1) * inside;
    this.open(box.name, layer, number, true);
  }

  scrollPast() {
    const bottom = this.root.getBoundingClientRect().bottom;
    let scroller = this.host;
    while (scroller && !/auto|scroll/.test(getComputedStyle(scroller).overflowY)) scroller = scroller.parentElement;
    (scroller ?? document.scrollingElement).scrollBy({ top: bottom - 60, behavior: calm() ? "auto" : "smooth" });
  }

  // ---- what is there

  build() {
    const { model } = this, { words, boxes } = model;
    this.root.setAttribute("aria-label", words.alt);
    this.root.classList.remove("moving");
    const at = (place) => boxes.filter((box) => box.place === place);
    const rows = [this.text(boxes.find((box) => box.name === "ids"))];
    for (const box of at("input")) if (box.name !== "ids") rows.push(this.line(box));
    if (words.positions) rows.at(-1).querySelector(".side")?.append(make("span", "", words.positions));
    for (const slab of model.slabs) {
      rows.push(slab.first <= model.layer && model.layer <= slab.last ? this.block() : this.slab(slab));
    }
    rows.push(this.exit(at("output")));
    this.find(".rows").replaceChildren(...rows);
    this.find(".back").textContent = words.back;
    this.find(".ahead").textContent = words.next;
    this.find(".see").textContent = words.see;
    this.mark();
  }

  // Which box is open, and what the bar says of it.
  mark() {
    const { model } = this, { words } = model;
    const box = model.boxes.find((other) => other.name === model.opened);
    for (const button of this.tower.querySelectorAll("[data-box]")) {
      const open = button.dataset.box === model.opened;
      button.setAttribute("aria-pressed", String(open));
      button.tabIndex = open ? 0 : -1;
    }
    const where = box.layer === null ? "" : `${words.block.replace("{number}", box.layer + 1)} · `;
    this.find(".count").textContent = words.step.replace("{number}", model.number).replace("{total}", model.total);
    this.find(".title").textContent = where + box.title;
    this.find(".say").textContent = box.say;
    this.find(".shape").textContent = box.shape;
    this.find(".stats").textContent = box.stats;
    this.find(".back").disabled = model.number <= 1;
    this.find(".ahead").disabled = model.number >= model.total;
  }

  // The text as chips, token over id; of a long text those around the one that is followed.
  text(box) {
    const { tokens, ids, position, words } = this.model;
    const row = make("div", "text");
    if (box) row.append(this.button(box, "label"));
    const chips = make("div", "chips");
    const from = Math.max(0, Math.min(position - CHIPS / 2, tokens.length - CHIPS));
    const to = Math.min(tokens.length, from + CHIPS);
    if (from) chips.append(make("span", "more", words.earlier.replace("{count}", from)));
    for (let index = from; index < to; index++) {
      const chip = make("button", "chip");
      chip.type = "button";
      chip.dataset.chip = index;
      chip.append(make("bdi", "token", tokens[index]), make("span", "id", String(ids[index])));
      chip.setAttribute("aria-pressed", String(index === position));
      chip.setAttribute("aria-label", words.follow.replace("{token}", tokens[index]).replace("{number}", index + 1));
      chip.tabIndex = index === position ? 0 : -1;
      chip.onclick = () => this.setTriggerValue("placed", { position: index });
      chip.onkeydown = (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        event.preventDefault();
        chips.querySelector(`[data-chip="${index + by}"]`)?.focus();
      };
      chips.append(chip);
    }
    if (to < tokens.length) chips.append(make("span", "more", words.later.replace("{count}", tokens.length - to)));
    row.append(chips);
    return row;
  }

  // A step on the spine, with its name beside it.
  line(box) {
    const row = make("div", "line");
    const side = make("div", "side");
    side.append(make("b", "", box.title), make("span", "", box.say));
    row.append(this.button(box, "band"), side);
    return row;
  }

  slab({ first, last, picture }) {
    const { words, layer } = this.model;
    const many = last > first;
    const row = make("button", many ? "slab many" : "slab");
    row.type = "button";
    const name = many
      ? words.blocks.replace("{first}", first + 1).replace("{last}", last + 1)
      : words.block.replace("{number}", first + 1);
    row.append(this.strip(picture), make("span", "side", name));
    const next = last < layer ? last : first; // of a run of blocks the one next to the open one
    row.dataset.layer = next;
    row.setAttribute("aria-label", words.open_block.replace("{number}", next + 1));
    row.onclick = () => this.open(this.inBlock(), next, undefined, false);
    return row;
  }

  // The name to open in another block: the same box, or its first one where a box outside the blocks is open.
  inBlock() {
    const { boxes, opened } = this.model;
    const box = boxes.find((other) => other.name === opened);
    return (box.layer !== null ? box : boxes.find((other) => other.layer !== null)).name;
  }

  block() {
    const { words, layer, layers, boxes } = this.model;
    const card = make("div", "block");
    const head = make("div", "head");
    const title = make("b", "", layers > 1 ? `${words.block.replace("{number}", "")} ` : words.block.replace("{number}", 1));
    if (layers > 1) title.append(this.picker());
    head.append(title, make("span", "", layers > 1 ? words.of.replace("{total}", layers) : ""));
    card.append(head);
    let row = null, branch = null;
    for (const box of boxes.filter((other) => other.layer !== null)) {
      if (box.place === "stream") {
        row = make("div", "floor");
        branch = make("div", "branch");
        row.append(this.button(box, "band"), branch);
        card.append(row);
        continue;
      }
      if (!branch) continue;
      if (!branch.children.length) {
        row.classList.add("busy");
        branch.dataset.place = box.place;
        branch.append(make("div", "kind", words[box.place] ?? ""));
      }
      const last = branch.lastElementChild;
      if (last.classList.contains("column") && last.dataset.column === box.column) {
        last.append(this.button(box, "box"));
      } else {
        const column = make("div", "column");
        column.dataset.column = box.column;
        column.append(this.button(box, "box"));
        branch.append(column);
      }
    }
    branch?.append(make("div", "kind", words.stream));
    return card;
  }

  // Any block of however many, by one native list.
  picker() {
    const { words, layer, layers } = this.model;
    const list = make("select");
    list.setAttribute("aria-label", words.pick);
    for (let index = 0; index < layers; index++) list.append(new Option(index + 1, index, false, index === layer));
    list.onchange = () => this.open(this.inBlock(), Number(list.value));
    return list;
  }

  exit(boxes) {
    const row = make("div", "exit");
    const left = make("div", "ends");
    for (const box of boxes) {
      if (box.name === "probabilities") continue;
      left.append(this.button(box, "band"));
    }
    row.append(left);
    const odds = boxes.find((box) => box.name === "probabilities");
    if (odds) {
      const button = this.button(odds, "odds");
      for (const [text, share] of this.model.candidates) {
        const bar = make("span", "bar-row");
        const track = make("span", "track");
        const fill = make("span", "fill");
        fill.style.width = `${Math.max(0.8, share * 100)}%`;
        track.append(fill);
        bar.append(make("bdi", "token", text), track, make("span", "share", percent(share)));
        button.append(bar);
      }
      row.append(button);
    }
    return row;
  }

  button(box, kind) {
    const button = make("button", kind);
    button.type = "button";
    button.dataset.box = box.name;
    button.setAttribute("aria-label", `${box.title}, ${box.shape}`);
    button.onclick = () => this.press(box);
    if (box.colour) button.style.setProperty("--own", `var(--${box.colour})`);
    const plain = kind === "band" && box.place !== "output" && box.place !== "stream";
    if (!plain) button.append(make("span", "name", box.title));
    if (box.picture && kind !== "odds") {
      if (box.isMap) {
        const maps = make("span", "maps");
        maps.dataset.count = box.picture.count > 4 ? "many" : box.picture.count > 1 ? "few" : "one";
        for (let index = 0; index < box.picture.count; index++) maps.append(this.map(box, index));
        button.append(maps);
      } else {
        button.append(this.strip(box.picture));
      }
    }
    return button;
  }

  // ---- painting

  strip({ at, rows, columns }) {
    const { position, tokens } = this.model;
    const frame = make("span", "strip");
    frame.append(this.picture(at, rows, columns, this.tables.diverging));
    const mark = make("span", "mark");
    mark.style.left = `${(position / tokens.length) * 100}%`;
    mark.style.width = `${100 / tokens.length}%`;
    frame.append(mark);
    return frame;
  }

  picture(at, rows, columns, table) {
    const canvas = document.createElement("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const image = new ImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let index = 0; index < pixels.length; index++) pixels[index] = table[this.model.bytes[at + index]];
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  // One head's weights; what lies ahead is hatched where the mask forbids it.
  map(box, index) {
    const { at, rows, columns } = box.picture;
    const small = this.picture(at + index * rows * columns, rows, columns, this.tables.sequential);
    const cell = Math.max(2, Math.floor(144 / rows)), size = cell * rows;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = size;
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(small, 0, 0, size, size);
    if (!this.model.causal || rows < 2) return canvas;
    pen.beginPath();
    pen.moveTo(cell, 0);
    for (let query = 0; query < rows - 1; query++) {
      pen.lineTo((query + 1) * cell, (query + 1) * cell);
      pen.lineTo((query + 2) * cell, (query + 1) * cell);
    }
    pen.lineTo(size, 0);
    pen.closePath();
    pen.clip();
    pen.fillStyle = this.colours.secondary;
    pen.fillRect(0, 0, size, size);
    pen.strokeStyle = this.colours.blocked;
    pen.lineWidth = 2;
    pen.beginPath();
    for (let along = 0; along < 2 * size; along += 12) {
      pen.moveTo(along, 0);
      pen.lineTo(along - size, size);
    }
    pen.stroke();
    return canvas;
  }

  // ---- wires, from where the boxes have come to lie

  drawWires() {
    this.svg.replaceChildren();
    const frame = this.tower.getBoundingClientRect();
    if (!frame.width) return;
    this.svg.setAttribute("viewBox", `0 0 ${frame.width} ${frame.height}`);
    const at = (node) => {
      const box = node.getBoundingClientRect();
      const left = box.left - frame.left, top = box.top - frame.top;
      return { left, top, right: left + box.width, bottom: top + box.height, x: left + box.width / 2, y: top + box.height / 2 };
    };
    const bands = [...this.tower.querySelectorAll(".band, .slab .strip")].map(at);
    if (!bands.length) return;
    const spine = bands[0].x;
    this.wire("stream", `M${spine} ${bands[0].top} V${bands.at(-1).bottom}`);
    const chosen = this.tower.querySelector(".chip[aria-pressed=true]");
    if (chosen) {
      const chip = at(chosen), mark = at(this.tower.querySelector(".mark"));
      this.wire("thread", `M${chip.x} ${chip.bottom} C${chip.x} ${chip.bottom + 16} ${mark.x} ${mark.top - 16} ${mark.x} ${mark.top}`);
    }
    for (const floor of this.tower.querySelectorAll(".floor.busy")) this.wireBranch(floor, at);
    const odds = this.tower.querySelector(".odds"), ends = this.tower.querySelectorAll(".ends .band");
    if (odds && ends.length) {
      const from = at(ends[ends.length - 1]), to = at(odds);
      if (to.left > from.right) this.wire("arrow", `M${from.right} ${from.y} H${to.left - 6}`, true);
      else this.wire("arrow", `M${from.x} ${from.bottom} V${to.top - 6}`, true);
    }
    if (this.model.tied) this.wireTied(at);
  }

  wireBranch(floor, at) {
    const band = at(floor.querySelector(".band"));
    const columns = [...floor.querySelectorAll(".column")].map(at);
    const active = floor.querySelector(".branch [aria-pressed=true]") ? "arrow active" : "arrow";
    columns.forEach((to, index) => {
      const from = index ? columns[index - 1] : { ...band, y: Math.min(to.y, band.bottom - 8) };
      if (to.left >= from.right) {
        const y = index ? Math.max(to.top, from.top) + Math.min(to.bottom - to.top, from.bottom - from.top) / 2 : from.y;
        this.wire(active, `M${from.right} ${y} H${to.left - 5}`, true);
      } else {
        const middle = (from.bottom + to.top) / 2; // the next line of columns, on a narrow screen
        this.wire(active, `M${from.x} ${from.bottom} V${middle} H${to.x} V${to.top - 5}`, true);
      }
    });
    const next = floor.nextElementSibling;
    if (!columns.length || !next) return;
    const last = columns.at(-1), below = at(next.querySelector(".band"));
    const y = (band.bottom + below.top) / 2;
    this.wire(active, `M${last.x} ${last.bottom} V${y} H${band.x + 14}`, true);
    const plus = shape("g", { class: active.replace("arrow", "plus"), transform: `translate(${band.x} ${y})` });
    plus.append(shape("circle", { r: 9 }), shape("path", { d: "M-5 0 H5 M0 -5 V5" }));
    this.svg.append(plus);
  }

  wireTied(at) {
    const first = this.tower.querySelector("[data-box=embed]"), last = this.tower.querySelector("[data-box=logits]");
    if (!first || !last) return;
    const from = at(first), to = at(last), x = Math.max(3, from.left - 9);
    this.wire("tied", `M${from.left} ${from.y} H${x} V${to.y} H${to.left}`);
  }

  wire(kind, path, head = false) {
    this.svg.append(shape("path", { class: `wire ${kind}`, d: path }));
    if (!head) return;
    // Follow the path to its end; its last piece says where the arrow points.
    let x = 0, y = 0, dx = 0, dy = 0;
    for (const [, mx, my, h, v] of path.matchAll(/M([-\d.]+) ([-\d.]+)|H([-\d.]+)|V([-\d.]+)/g)) {
      const [oldX, oldY] = [x, y];
      if (mx !== undefined) [x, y] = [Number(mx), Number(my)];
      if (h !== undefined) x = Number(h);
      if (v !== undefined) y = Number(v);
      [dx, dy] = [Math.sign(x - oldX), Math.sign(y - oldY)];
      if (h === undefined) dx = 0;
    }
    const d = dx
      ? `M${x} ${y - 4} L${x + 6 * dx} ${y} L${x} ${y + 4} Z`
      : `M${x - 4} ${y} L${x} ${y + 6 * dy} L${x + 4} ${y} Z`;
    this.svg.append(shape("path", { class: `tip ${kind}`, d }));
  }
}

// ---- small helpers

function shape(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
