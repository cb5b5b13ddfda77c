// The wires between the boxes, drawn from where the boxes have come to lie.

import { find, makeSvg } from "../shared.js";

/**
 * A box's place in the picture, in pixels; x and y are its middle.
 * @typedef {{ left: number, top: number, right: number, bottom: number, x: number, y: number }} Rect
 */

export class Wires {
  frame = new DOMRect();

  /** @param {HTMLElement} tower What holds the boxes, and an `svg` for the wires. */
  constructor(tower) {
    this.tower = tower;
    this.svg = find(tower, "svg", SVGSVGElement);
  }

  /**
   * @param {boolean} isTied Whether the embedding's matrix also reads the result out.
   * @param {boolean} adds Whether the parts of a block add to the stream.
   */
  draw(isTied, adds) {
    this.svg.replaceChildren();
    this.frame = this.tower.getBoundingClientRect();
    if (!this.frame.width) return;
    this.svg.setAttribute("viewBox", `0 0 ${this.frame.width} ${this.frame.height}`);
    const bands = this.all(".band, .slab .strip");
    if (!bands.length) return;
    this.stream(bands, adds);
    const chip = this.first(".chip[aria-pressed=true]");
    const mark = this.first(".mark");
    if (chip && mark) {
      const bend = `${chip.x} ${chip.bottom + 16} ${mark.x} ${mark.top - 16}`;
      this.path("thread", `M${chip.x} ${chip.bottom} C${bend} ${mark.x} ${mark.top}`);
    }
    for (const floor of this.tower.querySelectorAll(".floor.busy")) this.branch(floor, adds);
    const odds = this.first(".odds");
    const end = this.all(".ends .band").pop();
    if (odds && end) {
      if (odds.left > end.right) this.across(`M${end.right} ${end.y}`, odds.left - 6, end.y, 1);
      else this.down(`M${end.x} ${end.bottom}`, end.x, odds.top - 6);
    }
    if (isTied) this.tied();
  }

  /**
   * Draw the stream. Where the parts of a block replace it, it breaks off below each floor of the open block.
   * @param {Rect[]} bands
   * @param {boolean} adds
   */
  stream(bands, adds) {
    const gaps = adds ? [] : this.all(".floor.busy .band");
    let top = bands[0].top;
    for (const gap of gaps) {
      this.path("stream", `M${gap.x} ${top} V${gap.bottom}`);
      top = bands.find((band) => band.top > gap.top)?.top ?? gap.bottom;
    }
    this.path("stream", `M${bands[0].x} ${top} V${bands[bands.length - 1].bottom}`);
  }

  /**
   * Draw the way through a block's attention or feed-forward part, out of the stream and back into it.
   * @param {Element} floor
   * @param {boolean} adds
   */
  branch(floor, adds) {
    const [band] = this.all(".band", floor);
    const columns = this.all(".column", floor);
    const kind = floor.querySelector(".branch [aria-pressed=true]") ? "active" : "";
    columns.forEach((to, index) => {
      const from = index ? columns[index - 1] : { ...band, y: Math.min(to.y, band.bottom - 8) };
      if (to.left >= from.right) {
        const half = Math.min(to.bottom - to.top, from.bottom - from.top) / 2;
        const y = index ? Math.max(to.top, from.top) + half : from.y;
        this.across(`M${from.right} ${y}`, to.left - 5, y, 1, kind);
      } else {
        const middle = (from.bottom + to.top) / 2; // the next line of columns, on a narrow screen
        this.down(`M${from.x} ${from.bottom} V${middle} H${to.x}`, to.x, to.top - 5, kind);
      }
    });
    const last = columns[columns.length - 1];
    const [below] = floor.nextElementSibling ? this.all(".band", floor.nextElementSibling) : [];
    if (!last || !below) return;
    const y = (band.bottom + below.top) / 2;
    if (!adds) {
      this.path(`arrow ${kind}`, `M${last.x} ${last.bottom} V${y} H${band.x}`);
      this.down(`M${band.x} ${y}`, band.x, below.top - 6, kind);
      return;
    }
    this.across(`M${last.x} ${last.bottom} V${y}`, band.x + 14, y, -1, kind);
    const plus = makeSvg("g", { class: `plus ${kind}`, transform: `translate(${band.x} ${y})` });
    plus.append(makeSvg("circle", { r: 9 }), makeSvg("path", { d: "M-5 0 H5 M0 -5 V5" }));
    this.svg.append(plus);
  }

  tied() {
    const from = this.first("[data-box=embed]");
    const to = this.first("[data-box=logits]");
    if (!from || !to) return;
    this.path("tied", `M${from.left} ${from.y} H${Math.max(3, from.left - 9)} V${to.y} H${to.left}`);
  }

  /**
   * Draw a wire whose last piece runs to the right or left, with an arrow head at its end.
   * @param {string} path All of it but the last piece.
   * @param {number} x
   * @param {number} y
   * @param {-1 | 1} way To the right for 1.
   */
  across(path, x, y, way, kind = "") {
    this.path(`arrow ${kind}`, `${path} H${x}`);
    this.head(`M${x} ${y - 4} L${x + 6 * way} ${y} L${x} ${y + 4} Z`, kind);
  }

  /**
   * Draw a wire whose last piece runs down, with an arrow head at its end.
   * @param {string} path All of it but the last piece.
   * @param {number} x
   * @param {number} y
   */
  down(path, x, y, kind = "") {
    this.path(`arrow ${kind}`, `${path} V${y}`);
    this.head(`M${x - 4} ${y} L${x} ${y + 6} L${x + 4} ${y} Z`, kind);
  }

  /**
   * @param {string} kind
   * @param {string} d
   */
  path(kind, d) {
    this.svg.append(makeSvg("path", { class: `wire ${kind}`, d }));
  }

  /**
   * @param {string} d
   * @param {string} kind
   */
  head(d, kind) {
    this.svg.append(makeSvg("path", { class: `tip arrow ${kind}`, d }));
  }

  /**
   * @param {string} selector
   * @param {Element} root
   */
  all(selector, root = this.tower) {
    return [...root.querySelectorAll(selector)].map((node) => this.rect(node));
  }

  /** @param {string} selector */
  first(selector) {
    const node = this.tower.querySelector(selector);
    return node && this.rect(node);
  }

  /**
   * @param {Element} node
   * @returns {Rect}
   */
  rect(node) {
    const box = node.getBoundingClientRect();
    const left = box.left - this.frame.left;
    const top = box.top - this.frame.top;
    const [right, bottom] = [left + box.width, top + box.height];
    return { left, top, right, bottom, x: (left + right) / 2, y: (top + bottom) / 2 };
  }
}
