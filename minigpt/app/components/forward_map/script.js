// The whole model with a text flowing through it: tokens become numbers, the residual stream runs down through a tower of
// equal blocks, one of which is open, and leaves as a probability for every next token.
//
// A message holds one byte for each number of the pictures. Stepping and pressing show at once; what is opened goes back
// to the server, which shows all of its numbers.

import { find, keep, setColours, shownColours, unpack } from "../shared.js";
import { Pictures } from "./pictures.js";
import { Rows } from "./rows.js";
import { nextStep, openBox, placeOf } from "./steps.js";
import { Wires } from "./wires.js";

/** @import { Component } from "../shared.js" */
/** @import { Message } from "./steps.js" */

const COMPACT = 430;
const FORGET = 4000; // ms; how long an answer of the server to an earlier step is expected

/** @param {Component<Uint8Array>} component */
export default function (component) {
  return keep(component, ForwardView);
}

class ForwardView {
  /** @type {Component<Uint8Array>} The last call. */
  component;
  /** @type {Message} */
  model;
  /** @type {{ name: string, layer: number } | null} What was opened last and the server has not answered yet. */
  wanted = null;
  forgetting = 0;
  /** @type {boolean | undefined} What the server was told last about being on a phone. */
  reported;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".forward");
    this.tower = find(parent, ".tower");
    this.rows = find(parent, ".rows");
    this.back = find(parent, ".back", HTMLButtonElement);
    this.ahead = find(parent, ".ahead", HTMLButtonElement);
    this.see = find(parent, ".see");
    this.wires = new Wires(this.tower);
    this.back.onclick = () => this.walk(-1);
    this.ahead.onclick = () => this.walk(1);
    this.see.onclick = () => this.scrollPast();
    this.tower.onkeydown = (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!by || !(/** @type {Element} */ (event.target).closest("[data-box]"))) return;
      event.preventDefault();
      this.walk(by > 0 ? 1 : -1, true);
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

  /** @param {Component<Uint8Array>} component */
  update(component) {
    this.component = component;
    this.model = unpack(component.data);
    this.stayAhead();
    const colours = shownColours(this.parent, this.model);
    setColours(this.root, colours);
    const focused = this.focused();
    this.build(new Pictures(this.model, colours));
    if (focused) {
      const { opened, position } = this.model;
      const selector = focused.dataset.chip ? `[data-chip="${position}"]` : `[data-box="${opened}"]`;
      const again = this.tower.querySelector(focused.matches("select") ? "select" : selector);
      if (again instanceof HTMLElement) again.focus({ preventScroll: true });
    }
    this.reportWidth();
    requestAnimationFrame(() => this.drawWires());
  }

  /** Keep the box that the reader has opened meanwhile: a message that was on its way must not take it back. */
  stayAhead() {
    const { model, wanted } = this;
    if (!wanted) return;
    if (wanted.name === model.opened) {
      this.wanted = null;
    } else if (wanted.layer === model.layer) {
      model.number += placeOf(model, wanted.name) - placeOf(model, model.opened);
      model.opened = wanted.name;
    }
  }

  /** Return the element of the picture that has the keyboard's focus. */
  focused() {
    const root = /** @type {Document | ShadowRoot} */ (this.root.getRootNode());
    const element = root.activeElement;
    return element instanceof HTMLElement && this.tower.contains(element) ? element : null;
  }

  reportWidth() {
    const compact = this.root.clientWidth > 0 && this.root.clientWidth < COMPACT;
    if (compact !== this.model.compact && compact !== this.reported) {
      this.reported = compact;
      this.component.setStateValue("compact", compact);
    }
  }

  // ---- steps

  /** @param {-1 | 1} by */
  walk(by, focus = false) {
    const step = nextStep(this.model, by);
    if (step) this.open(step, focus);
  }

  /**
   * @param {{ name: string, layer: number, number?: number }} step
   * @param {boolean} focus Whether the box gets the keyboard's focus.
   */
  open({ name, layer, number }, focus) {
    this.wanted = { name, layer };
    clearTimeout(this.forgetting);
    this.forgetting = setTimeout(() => {
      this.wanted = null;
    }, FORGET);
    this.component.setTriggerValue("opened", { layer, name });
    if (number !== undefined) this.model.number = number;
    if (layer !== this.model.layer) {
      this.root.classList.add("moving");
      return;
    }
    this.model.opened = name;
    this.mark();
    this.drawWires();
    const box = find(this.tower, `[data-box="${name}"]`);
    if (focus) box.focus({ preventScroll: true });
    if (this.root.clientWidth < COMPACT) box.scrollIntoView({ block: "center", behavior: scrolling() });
  }

  /** Scroll to what the page shows of the open box, below the picture. */
  scrollPast() {
    const { bottom } = this.root.getBoundingClientRect();
    /** @type {Element | null} */
    let scroller = this.parent instanceof ShadowRoot ? this.parent.host : this.parent;
    while (scroller && !/auto|scroll/.test(getComputedStyle(scroller).overflowY)) scroller = scroller.parentElement;
    (scroller ?? document.scrollingElement)?.scrollBy({ top: bottom - 60, behavior: scrolling() });
  }

  // ---- elements

  /** @param {Pictures} pictures */
  build(pictures) {
    const { words } = this.model;
    this.root.setAttribute("aria-label", words.alt);
    this.root.classList.remove("moving");
    const open = this.open.bind(this);
    const follow = (/** @type {number} */ position) => this.component.setTriggerValue("placed", { position });
    this.rows.replaceChildren(...new Rows(this.model, pictures, open, follow).all());
    this.back.textContent = words.back;
    this.ahead.textContent = words.next;
    this.see.textContent = words.see;
    this.mark();
  }

  /** Mark the box that is open, and say what it is. */
  mark() {
    const { number, opened, total, words } = this.model;
    for (const button of this.tower.querySelectorAll("button[data-box]")) {
      if (!(button instanceof HTMLButtonElement)) continue;
      const isOpen = button.dataset.box === opened;
      button.setAttribute("aria-pressed", String(isOpen));
      button.tabIndex = isOpen ? 0 : -1;
    }
    const box = openBox(this.model);
    const where = box.layer === null ? "" : `${words.block.replace("{number}", String(box.layer + 1))} · `;
    const texts = {
      ".count": words.step.replace("{number}", String(number)).replace("{total}", String(total)),
      ".title": where + box.title,
      ".say": box.say,
      ".shape": box.shape,
      ".stats": box.stats,
    };
    for (const [selector, text] of Object.entries(texts)) find(this.root, selector).textContent = text;
    this.back.disabled = number <= 1;
    this.ahead.disabled = number >= total;
  }

  drawWires() {
    this.wires.draw(this.model.tied, this.model.adds);
  }
}

function scrolling() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
}
