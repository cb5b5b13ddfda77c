// The rows of the picture, from the text at the top to the probabilities at the bottom.

import { make, percent } from "../shared.js";
import { insideBlock, nameInBlock, stepTo } from "./steps.js";

/** @import { Pictures } from "./pictures.js" */
/** @import { Box, Message, Slab } from "./steps.js" */

const CHIPS = 28; // tokens shown around the one that is followed

export class Rows {
  /**
   * @param {Message} model
   * @param {Pictures} pictures
   * @param {(step: { name: string, layer: number, number?: number }, focus: boolean) => void} open What opens a box.
   * @param {(position: number) => void} follow What follows another token.
   */
  constructor(model, pictures, open, follow) {
    this.model = model;
    this.pictures = pictures;
    this.open = open;
    this.follow = follow;
  }

  all() {
    const { boxes, slabs, layer, words } = this.model;
    /** @type {HTMLElement[]} */
    const rows = [this.text(boxes.find((box) => box.name === "ids"))];
    for (const box of boxes) if (box.place === "input" && box.name !== "ids") rows.push(this.line(box));
    if (words.positions) rows[rows.length - 1].querySelector(".side")?.append(make("span", "", words.positions));
    for (const slab of slabs) {
      rows.push(slab.first <= layer && layer <= slab.last ? this.block() : this.slab(slab));
    }
    rows.push(this.exit(boxes.filter((box) => box.place === "output")));
    return rows;
  }

  /**
   * Return the text as chips, token over id; of a long text those around the one that is followed.
   * @param {Box | undefined} box
   */
  text(box) {
    const { tokens, position, words } = this.model;
    const from = Math.max(0, Math.min(position - CHIPS / 2, tokens.length - CHIPS));
    const to = Math.min(tokens.length, from + CHIPS);
    const chips = make("div", "chips");
    if (from) chips.append(make("span", "more", words.earlier.replace("{count}", String(from))));
    for (let index = from; index < to; index++) chips.append(this.chip(index));
    const left = tokens.length - to;
    if (left) chips.append(make("span", "more", words.later.replace("{count}", String(left))));
    chips.onkeydown = (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      const chip = /** @type {HTMLElement} */ (event.target);
      if (!by || !chip.dataset.chip) return;
      event.preventDefault();
      const next = chips.querySelector(`[data-chip="${Number(chip.dataset.chip) + by}"]`);
      if (next instanceof HTMLElement) next.focus();
    };
    const row = make("div", "text");
    if (box) row.append(this.button(box, "label"));
    row.append(chips);
    return row;
  }

  /** @param {number} index */
  chip(index) {
    const { tokens, ids, position, words } = this.model;
    const chip = make("button", "chip");
    chip.type = "button";
    chip.dataset.chip = String(index);
    chip.append(make("bdi", "token", tokens[index]), make("span", "id", String(ids[index])));
    chip.setAttribute("aria-pressed", String(index === position));
    const label = words.follow.replace("{token}", tokens[index]).replace("{number}", String(index + 1));
    chip.setAttribute("aria-label", label);
    chip.tabIndex = index === position ? 0 : -1;
    chip.onclick = () => this.follow(index);
    return chip;
  }

  /**
   * Return a step on the spine, with its name beside it.
   * @param {Box} box
   */
  line(box) {
    const side = make("div", "side");
    side.append(make("b", "", box.title), make("span", "", box.say));
    const row = make("div", "line");
    row.append(this.button(box, "band"), side);
    return row;
  }

  /**
   * Return blocks that are not open, as one button.
   * @param {Slab} slab
   */
  slab({ first, last, picture }) {
    const { words, layer } = this.model;
    const isMany = last > first;
    const name = isMany
      ? words.blocks.replace("{first}", String(first + 1)).replace("{last}", String(last + 1))
      : words.block.replace("{number}", String(first + 1));
    const next = last < layer ? last : first; // the block beside the open one
    const row = make("button", isMany ? "slab many" : "slab");
    row.type = "button";
    row.append(this.pictures.strip(picture), make("span", "side", name));
    row.dataset.layer = String(next);
    row.setAttribute("aria-label", words.open_block.replace("{number}", String(next + 1)));
    row.onclick = () => this.open({ name: nameInBlock(this.model), layer: next }, false);
    return row;
  }

  /** Return the open block: the stream at the left, and beside it the boxes of attention and of the feed-forward part. */
  block() {
    const { words } = this.model;
    const card = make("div", "block");
    card.append(this.head());
    /** @type {HTMLElement | null} */
    let floor = null;
    /** @type {HTMLElement | null} */
    let branch = null;
    for (const box of insideBlock(this.model)) {
      if (box.place === "stream") {
        floor = make("div", "floor");
        branch = make("div", "branch");
        floor.append(this.button(box, "band"), branch);
        card.append(floor);
      } else if (floor && branch) {
        if (!branch.children.length) {
          floor.classList.add("busy");
          branch.dataset.place = box.place;
          branch.append(make("div", "kind", words[box.place]));
        }
        this.columnFor(box, branch).append(this.button(box, "box"));
      }
    }
    branch?.append(make("div", "kind", words.stream));
    return card;
  }

  /** Return the name of the open block, with a list to open another one. */
  head() {
    const { words, layer, layers } = this.model;
    const head = make("div", "head");
    if (layers === 1) {
      head.append(make("b", "", words.block.replace("{number}", "1")), make("span"));
      return head;
    }
    const list = make("select");
    list.setAttribute("aria-label", words.pick);
    for (let index = 0; index < layers; index++) {
      list.append(new Option(String(index + 1), String(index), false, index === layer));
    }
    list.onchange = () => this.open({ name: nameInBlock(this.model), layer: Number(list.value) }, false);
    const title = make("b", "", `${words.block.replace("{number}", "")} `);
    title.append(list);
    head.append(title, make("span", "", words.of.replace("{total}", String(layers))));
    return head;
  }

  /**
   * Return the column of a branch that a box belongs to; boxes of one column follow each other.
   * @param {Box} box
   * @param {HTMLElement} branch
   */
  columnFor(box, branch) {
    const last = branch.lastElementChild;
    if (last instanceof HTMLElement && last.dataset.column === box.column) return last;
    const column = make("div", "column");
    column.dataset.column = box.column;
    branch.append(column);
    return column;
  }

  /**
   * Return the way out: what reads the stream, and the likeliest next tokens.
   * @param {Box[]} boxes
   */
  exit(boxes) {
    const ends = make("div", "ends");
    const row = make("div", "exit");
    row.append(ends);
    for (const box of boxes) {
      if (box.name === "probabilities") row.append(this.odds(box));
      else ends.append(this.button(box, "band"));
    }
    return row;
  }

  /** @param {Box} box */
  odds(box) {
    const button = this.button(box, "odds");
    for (const [text, share] of this.model.candidates) {
      const fill = make("span", "fill");
      fill.style.width = `${Math.max(0.8, share * 100)}%`;
      const track = make("span", "track");
      track.append(fill);
      const bar = make("span", "bar-row");
      bar.append(make("bdi", "token", text), track, make("span", "share", percent(share)));
      button.append(bar);
    }
    return button;
  }

  /**
   * Return what opens a box; it shows the box's numbers, and its name where that does not stand beside it.
   * @param {Box} box
   * @param {"label" | "band" | "box" | "odds"} kind
   */
  button(box, kind) {
    const button = make("button", kind);
    button.type = "button";
    button.dataset.box = box.name;
    button.setAttribute("aria-label", `${box.title}, ${box.shape}`);
    button.onclick = () => this.open(stepTo(this.model, box), true);
    if (box.colour) button.style.setProperty("--own", `var(--${box.colour})`);
    const isNamed = kind !== "band" || box.place === "output" || box.place === "stream";
    if (isNamed) button.append(make("span", "name", box.title));
    if (box.picture && kind !== "odds") {
      button.append(box.isMap ? this.pictures.maps(box.picture) : this.pictures.strip(box.picture));
    }
    return button;
  }
}
