// The way from text to next character, from a recording of a real forward pass: characters become numbers, numbers pass
// through the layers' heads, and the last position becomes a probability for every next character. Then the dice fall.
//
// It moves by itself only while it is on screen and only where motion is welcome; the buttons always work.

import { isDark, keep, percent, rgb } from "../shared.js";

export default function (component) {
  return keep(component, FlowView);
}

class FlowView {
  constructor(parent) {
    this.host = parent.host ?? parent;
    this.root = parent.querySelector(".flow");
    this.find = (name) => this.root.querySelector(name);
    this.stage = this.find(".stage");
    this.svg = this.find("svg");
    this.visible = false;
    this.playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.find(".play").onclick = () => this.setPlaying(!this.playing);
    this.find(".next-step").onclick = () => {
      this.setPlaying(false);
      this.step = (this.step + 1) % this.flow.choices.length;
      this.show(this.lastPhase);
    };
    this.resized = new ResizeObserver(() => this.flow && this.drawRibbons());
    this.seen = new IntersectionObserver(([entry]) => {
      this.visible = entry.isIntersecting;
      this.schedule();
    });
  }

  wake() {
    this.resized.observe(this.stage);
    this.seen.observe(this.root);
  }

  rest() {
    clearTimeout(this.timer);
    this.resized.disconnect();
    this.seen.disconnect();
  }

  update({ data }) {
    const same = this.flow && this.flow.attention === data.flow.attention;
    this.words = data.words;
    this.flow = data.flow;
    const dark = isDark(getComputedStyle(this.host));
    this.colours = dark ? data.dark : data.light;
    for (const [name, colour] of Object.entries(this.colours)) {
      if (typeof colour === "string") this.root.style.setProperty(`--flow-${name}`, colour);
    }
    this.sequential = scale(this.colours.sequential);
    this.diverging = scale(this.colours.diverging);
    if (!same) {
      this.attention = decode(this.flow.attention);
      this.embeddings = new Int8Array(decode(this.flow.embeddings).buffer);
      this.lastPhase = this.flow.num_layers + 2;
      this.step = 0;
      this.phase = this.playing ? 0 : this.lastPhase;
      this.build();
    }
    this.label();
    this.show(this.phase);
  }

  // ---- what is there

  build() {
    const { tokens, num_layers: layers, num_heads: heads } = this.flow;
    this.rows = tokens.map((text, index) => {
      const row = element("div", "row");
      const strip = document.createElement("canvas");
      row.append(element("bdi", "token", text), element("span", "id", String(this.flow.ids[index])), strip);
      return row;
    });
    this.find(".tokens").replaceChildren(...this.rows);
    this.layers = [];
    for (let layer = 0; layer < layers; layer++) {
      const card = element("div", "layer");
      card.append(element("div", "name", `${this.words.layer} ${layer + 1}`));
      const maps = element("div", "maps");
      const canvases = [];
      for (let head = 0; head < heads; head++) {
        const canvas = document.createElement("canvas");
        canvases.push(canvas);
        maps.append(canvas);
      }
      maps.dataset.heads = heads > 4 ? "many" : "few";
      card.append(maps);
      this.layers.push({ card, canvases });
    }
    this.find(".layers").replaceChildren(...this.layers.map(({ card }) => card));
    this.bars = this.flow.choices[0].candidates.map(() => {
      const bar = element("div", "bar");
      bar.append(element("bdi", "token"), element("div", "track"), element("span", "share"));
      bar.querySelector(".track").append(element("div", "fill"));
      return bar;
    });
    this.find(".bars").replaceChildren(...this.bars);
  }

  label() {
    this.root.setAttribute("aria-label", this.words.alt);
    this.find(".column-text").textContent = this.words.text;
    this.find(".column-numbers").textContent = this.words.numbers;
    this.find(".column-next").textContent = this.words.next;
    this.find(".next-step").textContent = this.words.step;
    this.labelPlay();
  }

  labelPlay() {
    this.find(".play").textContent = this.playing ? this.words.pause : this.words.play;
  }

  // ---- time

  setPlaying(playing) {
    this.playing = playing;
    this.labelPlay();
    this.schedule();
  }

  schedule() {
    clearTimeout(this.timer);
    this.root.classList.toggle("moving", this.playing && this.visible);
    if (!this.playing || !this.visible) return;
    const atEnd = this.step === this.flow.choices.length - 1 && this.phase === this.lastPhase;
    const first = this.phase === 0, deciding = this.phase >= this.lastPhase - 1;
    const wait = atEnd ? 4000 : deciding ? 1100 : first ? 900 : 450;
    this.timer = setTimeout(() => {
      if (this.phase === this.lastPhase) {
        this.step = (this.step + 1) % this.flow.choices.length;
        this.show(0);
      } else {
        this.show(this.phase + 1);
      }
    }, wait);
  }

  // Phases of one character: 0 it is read, 1..L a layer at a time, L + 1 probabilities, L + 2 the dice have fallen.
  show(phase) {
    this.phase = phase;
    const { flow, step, words, lastPhase } = this;
    const read = flow.num_prompt + step;
    const choice = flow.choices[step];
    const fallen = phase === lastPhase;
    this.root.dataset.phase = phase === 0 ? "read" : phase <= flow.num_layers ? "layer" : fallen ? "fallen" : "odds";
    this.find(".given").textContent = flow.tokens.slice(0, flow.num_prompt).join("");
    this.find(".written").textContent = flow.tokens.slice(flow.num_prompt, read).join("");
    this.find(".fresh").textContent = fallen ? flow.tokens[read] : "";
    this.rows.forEach((row, index) => {
      row.classList.toggle("empty", index >= read);
      row.classList.toggle("last", index === read - 1);
      row.classList.toggle("made", index >= flow.num_prompt);
    });
    this.layers.forEach(({ card }, layer) => {
      card.classList.toggle("lit", phase === layer + 1);
      card.classList.toggle("passed", phase > layer + 1);
    });
    const known = phase > flow.num_layers;
    this.bars.forEach((bar, index) => {
      const [text, probability] = choice.candidates[index];
      bar.querySelector(".token").textContent = known ? visible(text) : "";
      bar.querySelector(".fill").style.width = known ? `${Math.max(1, probability * 100)}%` : "0%";
      bar.querySelector(".share").textContent = known ? percent(probability) : "";
      bar.classList.toggle("chosen", fallen && index === choice.chosen);
    });
    this.paint(read);
    this.drawRibbons();
    const said =
      phase === 0 ? words.say_read : phase <= flow.num_layers ? words.say_layer : fallen ? words.say_fallen : words.say_odds;
    this.find(".said").textContent = said
      .replace("{layer}", phase)
      .replace("{dice}", choice.u.toFixed(2))
      .replace("{token}", visible(flow.tokens[read] ?? ""))
      .replace("{share}", percent(choice.candidates[choice.chosen][1]));
    this.schedule();
  }

  // ---- painting

  paint(read) {
    const { flow } = this;
    const total = flow.tokens.length;
    const width = this.embeddings.length / total;
    this.rows.forEach((row, index) => {
      const strip = row.querySelector("canvas");
      strip.width = width;
      strip.height = 1;
      if (index >= read) return;
      const pen = strip.getContext("2d");
      for (let at = 0; at < width; at++) {
        pen.fillStyle = this.diverging(0.5 + this.embeddings[index * width + at] / 254);
        pen.fillRect(at, 0, 1, 1);
      }
    });
    this.layers.forEach(({ canvases }, layer) => {
      canvases.forEach((canvas, head) => {
        const offset = (layer * flow.num_heads + head) * total * total;
        this.paintMap(canvas, offset, total, read);
      });
    });
  }

  // The map grows with the text: its last row is the newest character looking back.
  paintMap(canvas, offset, total, read) {
    const cell = Math.max(4, Math.floor(176 / read));
    const size = cell * read;
    canvas.width = canvas.height = size;
    const pen = canvas.getContext("2d");
    pen.fillStyle = this.colours.secondary;
    pen.fillRect(0, 0, size, size);
    pen.strokeStyle = this.colours.blocked;
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (let at = 0; at < 2 * size; at += 11) {
      pen.moveTo(at, 0);
      pen.lineTo(at - size, size);
    }
    pen.stroke();
    for (let query = 0; query < read; query++) {
      for (let key = 0; key <= query; key++) {
        pen.fillStyle = this.sequential(this.attention[offset + query * total + key] / 255);
        pen.fillRect(key * cell, query * cell, cell, cell);
      }
    }
    pen.strokeStyle = this.colours.query;
    pen.lineWidth = 3;
    pen.strokeRect(1.5, size - cell + 1.5, size - 3, cell - 3);
  }

  drawRibbons() {
    this.svg.replaceChildren();
    const box = this.stage.getBoundingClientRect();
    if (box.width < 640) return;
    this.svg.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
    const at = (node) => {
      const rect = node.getBoundingClientRect();
      return { left: rect.left - box.left, right: rect.right - box.left, middle: rect.top + rect.height / 2 - box.top };
    };
    const read = this.flow.num_prompt + this.step;
    const rows = this.rows.slice(0, read).map(at);
    const cards = this.layers.map(({ card }) => at(card.querySelector(".maps")));
    const { phase } = this;
    rows.forEach((row, index) => {
      const last = index === read - 1;
      const kind = last ? "ribbon last" : "ribbon";
      this.ribbon(kind, row.right + 4, row.middle, cards[0].left - 4, row.middle, phase === 0 || phase === 1);
      for (let layer = 1; layer < cards.length; layer++) {
        this.ribbon(kind, cards[layer - 1].right + 4, row.middle, cards[layer].left - 4, row.middle, phase === layer + 1);
      }
    });
    const from = cards[cards.length - 1].right + 4, start = rows[read - 1].middle;
    const choice = this.flow.choices[this.step];
    this.bars.forEach((bar, index) => {
      const to = at(bar);
      const chosen = phase === this.lastPhase && index === choice.chosen;
      const path = this.ribbon(chosen ? "ribbon chosen" : "ribbon odds", from, start, to.left - 4, to.middle, phase > this.flow.num_layers);
      path.style.strokeWidth = `${Math.max(1, 14 * choice.candidates[index][1])}px`;
    });
  }

  ribbon(kind, x1, y1, x2, y2, moving) {
    const bend = (x2 - x1) / 2;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", `M${x1} ${y1} C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
    path.setAttribute("class", moving ? `${kind} on` : kind);
    this.svg.append(path);
    return path;
  }
}

// ---- small helpers

function element(tag, name, text = "") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = name === "token" ? visible(text) : text;
  return made;
}

function visible(text) {
  return text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
}

function decode(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

function scale(stops) {
  const colours = stops.map(rgb);
  return (value) => {
    const at = Math.max(0, Math.min(1, value)) * (colours.length - 1);
    const low = Math.min(colours.length - 2, Math.floor(at));
    const mixed = colours[low].map((part, i) => Math.round(part + (colours[low + 1][i] - part) * (at - low)));
    return `rgb(${mixed.join(",")})`;
  };
}
