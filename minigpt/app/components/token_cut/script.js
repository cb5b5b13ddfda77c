// A text cut into tokens, each with its id, and a slider over the merges that made them.
//
// Everything a person typed arrives in `data` and reaches the page through textContent only. The slider is answered here
// without asking the server, which is told where it rests.

import { find, keep, make, setColours, shownColours } from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/** @typedef {{ brand: string, surprise: string }} Colours */

/**
 * What Python sends, from `token_cut.message`.
 * @typedef {object} Header
 * @property {number[]} ids The tokens before any merge.
 * @property {Record<string, string>} labels
 * @property {number[]} breaks Ids that end a line.
 * @property {Record<string, string>} unknown What stands at places of `ids` that the tokenizer does not know.
 * @property {number[]} steps For each token the merge that joins it to the one before it; -1 for none.
 * @property {number[]} results The id that each merge makes.
 * @property {string[]} merges A sentence for each number of merges.
 * @property {string[][]} facts The numbers for each number of merges.
 * @property {number} start
 * @property {string} moved
 * @property {Record<string, string>} words
 */

/** @typedef {Header & Themes<Colours>} Message */

/** @param {Component<Message>} component */
export default function (component) {
  return keep(component, Cut);
}

class Cut {
  /** @type {Component<Message>} The last call. */
  component;
  /** @type {Message} */
  data;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".cut");
    this.controls = find(parent, ".controls");
    this.name = find(parent, ".name");
    this.output = find(parent, "output");
    this.slider = find(parent, "input", HTMLInputElement);
    this.merge = find(parent, ".merge");
    this.facts = find(parent, ".facts");
    this.text = find(parent, ".text");
    this.slider.addEventListener("input", () => this.draw());
    this.slider.addEventListener("change", () => this.component.setStateValue("merges", Number(this.slider.value)));
  }

  /** @param {Component<Message>} component */
  update(component) {
    const { data } = component;
    const isMoved = data.moved !== this.data?.moved;
    this.component = component;
    this.data = data;
    this.controls.hidden = data.merges.length < 2;
    this.slider.max = String(Math.max(0, data.merges.length - 1));
    if (isMoved) this.slider.value = String(data.start);
    this.slider.setAttribute("aria-label", data.words.slider);
    this.name.textContent = data.words.slider;
    this.text.setAttribute("aria-label", data.words.label);
    this.draw();
    this.colour();
  }

  colour() {
    if (this.data) setColours(this.root, shownColours(this.parent, this.data));
  }

  /** Draw the text as it is cut after the merges that the slider says. */
  draw() {
    const { ids, labels, unknown, steps, results, merges, facts, words } = this.data;
    const count = merges.length ? Number(this.slider.value) : 0;
    this.output.textContent = `${count.toLocaleString("en")} / ${(merges.length - 1).toLocaleString("en")}`;
    this.merge.textContent = merges[count] ?? "";
    this.facts.replaceChildren(
      ...facts[count].map((fact, at) => {
        const pair = make("div");
        pair.append(make("dt", "", words[`fact_${at}`]), make("dd", "", fact));
        return pair;
      }),
    );
    const breaks = new Set(this.data.breaks);
    const content = document.createDocumentFragment();
    for (let begin = 0; begin < ids.length; ) {
      let [end, latest] = [begin + 1, -1];
      for (; end < ids.length && steps[end] >= 0 && steps[end] < count; end++) latest = Math.max(latest, steps[end]);
      const id = latest < 0 ? ids[begin] : results[latest];
      const token = make("span", begin in unknown ? "token unknown" : "token");
      token.style.setProperty("--hue", String((id * 137.508) % 360));
      token.append(make("span", "label", unknown[begin] ?? labels[id]), make("span", "id", String(id)));
      content.append(token);
      if (breaks.has(id)) content.append(make("br"));
      begin = end;
    }
    this.text.replaceChildren(content);
  }
}
