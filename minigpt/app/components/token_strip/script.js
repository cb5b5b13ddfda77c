// A text, token by token, each on a ground that says how much it surprised the model.
//
// Everything a person typed arrives in `data` and reaches the page through textContent only. Pointing, tapping and the
// arrow keys are answered here without asking the server.

import { isDark, keep, make } from "../shared.js";

export default function (component) {
  return keep(component, Strip);
}

class Strip {
  constructor(parent) {
    this.host = parent.host ?? parent;
    this.root = parent.querySelector(".strip");
    this.text = this.root.querySelector(".text");
    this.tip = this.root.querySelector(".tip");
    this.legend = parent.querySelector(".legend");
    this.spans = [];
    this.open = -1;
    this.pinned = false;
    const on = (type, handler) => this.root.addEventListener(type, handler);
    on("pointerover", (event) => event.pointerType === "mouse" && !this.pinned && this.show(this.indexOf(event)));
    on("pointerleave", (event) => event.pointerType === "mouse" && !this.pinned && this.show(-1));
    on("click", (event) => this.press(this.indexOf(event)));
    on("keydown", (event) => this.key(event));
    on("focusout", () => this.unpin());
    this.text.addEventListener("scroll", () => this.unpin());
    // Another theme changes the colours without a word to components.
    this.watch = new MutationObserver(() => this.colour());
  }

  wake() {
    this.watch.observe(document.documentElement, { attributes: true });
  }

  rest() {
    this.watch.disconnect();
  }

  update({ data }) {
    this.data = data;
    this.unpin();
    this.text.setAttribute("aria-label", data.words.label);
    this.root.style.setProperty("--tallest", data.tallest ? `${data.tallest}px` : "none");
    this.root.classList.toggle("even", Boolean(data.even));
    const breaks = new Set(data.breaks), unknown = new Set(data.unknown);
    const content = document.createDocumentFragment();
    for (const [text, isBreak] of data.prompt) content.append(...piece(make("span", "prompt", text), text, isBreak));
    this.spans = data.texts.map((text, i) => {
      const span = make("span", "token", text);
      span.dataset.index = i;
      if (data.blanks[i]) span.classList.add("blank");
      if (unknown.has(i)) span.classList.add("unknown");
      if (data.mark === i) span.classList.add("mark");
      content.append(...piece(span, text, breaks.has(i)));
      return span;
    });
    this.text.replaceChildren(content);
    this.colour();
    this.drawLegend();
  }

  colour() {
    const colours = isDark(getComputedStyle(this.host)) ? this.data.dark : this.data.light;
    for (const element of [this.root, this.legend]) {
      for (const name of ["brand", "surprise"]) element.style.setProperty(`--${name}`, colours[name]);
    }
    this.spans.forEach((span, i) => {
      span.style.background = shade(this.data.bits[i] / this.data.much);
    });
    const scale = this.legend.querySelector(".scale");
    if (scale) scale.style.background = `linear-gradient(90deg, ${shade(0)}, ${shade(1)})`;
  }

  drawLegend() {
    const { words } = this.data;
    this.legend.replaceChildren();
    if (words.none) {
      this.legend.append(make("span", "", words.none), make("span", "scale", ""), make("span", "", words.much));
      this.colour();
    }
    if (words.hint) this.legend.append(make("span", "hint", words.hint));
  }

  indexOf(event) {
    const span = event.composedPath().find((node) => node.classList && node.classList.contains("token"));
    return span ? Number(span.dataset.index) : -1;
  }

  press(index) {
    const again = this.pinned && index === this.open;
    this.pinned = index >= 0 && !again;
    this.show(again ? -1 : index);
  }

  unpin() {
    this.pinned = false;
    this.show(-1);
  }

  key(event) {
    const last = this.spans.length - 1;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10, Home: -Infinity, End: Infinity };
    if (event.key === "Escape") return this.unpin();
    if (!(event.key in steps) || last < 0) return;
    event.preventDefault();
    const from = this.open < 0 ? (steps[event.key] > 0 ? -1 : last + 1) : this.open;
    this.pinned = true;
    const to = Math.max(0, Math.min(last, from + steps[event.key]));
    this.spans[to].scrollIntoView({ block: "nearest" });
    this.show(to);
  }

  show(index) {
    if (this.open >= 0 && this.spans[this.open]) this.spans[this.open].classList.remove("open");
    this.open = index;
    this.tip.style.display = index < 0 ? "none" : "block";
    if (index < 0) return;
    const span = this.spans[index];
    span.classList.add("open");
    this.fillTip(index);
    const box = span.getClientRects()[0], frame = this.root.getBoundingClientRect();
    const left = Math.min(box.left - frame.left, this.root.clientWidth - this.tip.offsetWidth);
    this.tip.style.left = `${Math.max(0, left)}px`;
    const height = this.tip.offsetHeight + 5;
    const isAbove = box.bottom + height > window.innerHeight && box.top > height;
    this.tip.style.top = `${isAbove ? box.top - frame.top - height : box.bottom - frame.top + 5}px`;
  }

  fillTip(index) {
    const { data } = this;
    const title = make("div", "title", "");
    title.append(make("bdi", "", data.texts[index]), ` ${data.titles[index]}`);
    const table = make("table", "", "");
    data.labels.forEach((label, row) => table.append(line([make("span", "label", label), data.values[row][index]])));
    this.tip.replaceChildren(title, table);
    if (data.tops[index].length) {
      const rivals = make("table", "", "");
      for (const [word, share] of data.tops[index]) {
        const bar = make("span", "bar", "");
        bar.style.width = `${Math.max(1, Math.round(share * 70))}px`;
        rivals.append(line([make("bdi", "", data.vocabulary[word]), chance(share), bar]));
      }
      this.tip.append(make("div", "also", data.words.also), rivals);
    }
  }
}

// ---- small helpers

// A line may end behind a space, and does end behind a newline; both are drawn as signs that would not do that.
function piece(span, text, isBreak) {
  if (isBreak) return [span, document.createElement("br")];
  return text.endsWith("␣") ? [span, document.createElement("wbr")] : [span];
}

function line(cells) {
  const row = document.createElement("tr");
  for (const content of cells) {
    const cell = document.createElement("td");
    cell.append(content);
    row.append(cell);
  }
  return row;
}

// Never quite the full colour, so that the letter on it stays readable.
function shade(share) {
  const strength = Math.round(68 * Math.max(0, Math.min(1, share)));
  return strength ? `color-mix(in srgb, var(--surprise) ${strength}%, transparent)` : "transparent";
}

function chance(share) {
  if (share >= 0.995) return share < 1 ? "> 99 %" : "100 %";
  return share < 0.005 ? "< 1 %" : `${Math.round(share * 100)} %`;
}
