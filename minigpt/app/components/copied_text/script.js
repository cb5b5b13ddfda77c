// A text with underlined spans, and below it the passage of another text in which the chosen span stands.
//
// Everything a person typed arrives in `data` and reaches the page through textContent only.

import { find, keep, make, setColours, shownColours } from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/** @typedef {{ brand: string }} Colours */

/** @typedef {{ length: number, title: string, before: string, inside: string, after: string }} CopiedSpan */

/**
 * What Python sends, from `copied_text.message`.
 * @typedef {Themes<Colours> & {
 *   pieces: [string, number][], spans: CopiedSpan[], prompt: string, words: { label: string, hint: string },
 * }} Message
 */

/** @param {Component<Message>} component */
export default function (component) {
  return keep(component, CopiedText);
}

class CopiedText {
  /** @type {Message} */
  data;
  open = -1;
  isPinned = false;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".copied");
    this.text = find(parent, ".text");
    this.title = find(parent, ".title");
    this.around = find(parent, ".around");
    this.text.addEventListener("pointerover", (event) => this.point(event));
    this.text.addEventListener("click", (event) => this.press(event));
    this.text.addEventListener("keydown", (event) => this.key(event));
  }

  /** @param {Component<Message>} component */
  update({ data }) {
    const isNew = JSON.stringify(data.pieces) !== JSON.stringify(this.data?.pieces);
    this.data = data;
    this.colour();
    this.text.setAttribute("aria-label", data.words.label);
    if (!isNew) return this.show(this.open);
    const content = document.createDocumentFragment();
    content.append(make("span", "prompt", data.prompt));
    for (const [text, index] of data.pieces) {
      const piece = make("span", index < 0 ? "" : "span", text);
      if (index >= 0) {
        piece.dataset.index = String(index);
        piece.append(make("sup", "", String(data.spans[index].length)));
      }
      content.append(piece);
    }
    this.text.replaceChildren(content);
    this.isPinned = false;
    this.show(-1);
  }

  colour() {
    if (this.data) setColours(this.root, shownColours(this.parent, this.data));
  }

  /** @param {Event} event */
  indexOf(event) {
    const span = event.composedPath().find((node) => node instanceof HTMLElement && node.dataset.index);
    return span instanceof HTMLElement ? Number(span.dataset.index) : -1;
  }

  /** @param {PointerEvent} event */
  point(event) {
    const index = this.indexOf(event);
    if (event.pointerType === "mouse" && !this.isPinned && index >= 0) this.show(index);
  }

  /** @param {Event} event */
  press(event) {
    const index = this.indexOf(event);
    const isAgain = this.isPinned && index === this.open;
    this.isPinned = index >= 0 && !isAgain;
    this.show(isAgain ? -1 : index);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1, Home: -Infinity, End: Infinity };
    const step = steps[/** @type {keyof typeof steps} */ (event.key)];
    const last = this.data.spans.length - 1;
    if (event.key === "Escape") this.isPinned = false;
    if (event.key === "Escape") return this.show(-1);
    if (!step || last < 0) return;
    event.preventDefault();
    const from = this.open < 0 ? (step > 0 ? -1 : last + 1) : this.open;
    this.isPinned = true;
    this.show(Math.max(0, Math.min(last, from + step)));
    this.text.querySelector(".open")?.scrollIntoView({ block: "nearest" });
  }

  /** @param {number} index The span whose passage is shown; -1 for none. */
  show(index) {
    this.open = index;
    for (const span of this.text.querySelectorAll(".span")) {
      span.classList.toggle("open", span instanceof HTMLElement && Number(span.dataset.index) === index);
    }
    const span = this.data.spans[index];
    this.title.textContent = span ? span.title : this.data.words.hint;
    this.around.replaceChildren();
    if (span) this.around.append(`…${span.before}`, make("mark", "", span.inside), `${span.after}…`);
  }
}
