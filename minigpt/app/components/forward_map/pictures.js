// The numbers of the boxes as small pictures, a pixel for each number.

import { hatch, lookUp, make, penOf } from "../shared.js";

/** @import { Colours, Message, Picture } from "./steps.js" */

export class Pictures {
  /**
   * @param {Message} model
   * @param {Colours} colours Of the theme that is shown.
   */
  constructor(model, colours) {
    this.model = model;
    this.colours = colours;
    this.sequential = lookUp(colours.sequential);
    this.diverging = lookUp(colours.diverging);
  }

  /**
   * Return the numbers of all positions, with a mark over the one that is followed.
   * @param {Picture} picture
   */
  strip({ at, rows, columns }) {
    const { position, tokens } = this.model;
    const mark = make("span", "mark");
    mark.style.left = `${(position / tokens.length) * 100}%`;
    mark.style.width = `${100 / tokens.length}%`;
    const frame = make("span", "strip");
    frame.append(this.pixels(at, rows, columns, this.diverging), mark);
    return frame;
  }

  /**
   * Return a box's attention weights, one small map for each head.
   * @param {Picture} picture
   */
  maps(picture) {
    const { count } = picture;
    const maps = make("span", "maps");
    maps.dataset.count = count > 4 ? "many" : count > 1 ? "few" : "one";
    for (let index = 0; index < count; index++) maps.append(this.map(picture, index));
    return maps;
  }

  /**
   * Return one head's weights; what lies ahead is hatched where the mask forbids it.
   * @param {Picture} picture
   * @param {number} index
   */
  map({ at, rows, columns }, index) {
    const small = this.pixels(at + index * rows * columns, rows, columns, this.sequential);
    const cell = Math.max(2, Math.floor(144 / rows));
    const size = cell * rows;
    const canvas = make("canvas");
    canvas.width = size;
    canvas.height = size;
    const pen = penOf(canvas);
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
    hatch(pen, { x: 0, y: 0, size }, { step: 12, width: 2 }, this.colours);
    return canvas;
  }

  /**
   * @param {number} at
   * @param {number} rows
   * @param {number} columns
   * @param {Uint32Array} table The colour of each byte.
   */
  pixels(at, rows, columns, table) {
    const canvas = make("canvas");
    canvas.width = columns;
    canvas.height = rows;
    const image = new ImageData(columns, rows);
    const pixels = new Uint32Array(image.data.buffer);
    for (let index = 0; index < pixels.length; index++) pixels[index] = table[this.model.bytes[at + index]];
    penOf(canvas).putImageData(image, 0, 0);
    return canvas;
  }
}
