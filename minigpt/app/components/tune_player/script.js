// A tune as a picture of its notes, and a button that plays it. The sound is made here, by Web Audio: one soft tone for
// each note. The note that sounds is marked.

import { find, keep, makeSvg, setColours, shownColours } from "../shared.js";

/** @import { Component, Themes } from "../shared.js" */

/** @typedef {{ attention: string, query: string, reference: string }} Colours */

/**
 * What Python sends, from `tune_player.message`.
 * @typedef {Themes<Colours> & { notes: [number, number, number][], words: Record<string, string> }} Message
 */

const SECONDS_PER_QUARTER = 0.42;
const LOUDNESS = 0.16;
const SOFT = 0.03; // seconds that a tone takes to begin and to end
const HEIGHT = 100;
const ROOM = 12; // above the highest and below the lowest note

/** @param {Component<Message>} component */
export default function (component) {
  return keep(component, Player);
}

class Player {
  /** @type {Message} */
  data;
  /** @type {AudioContext | null} There is one while it plays. */
  sound = null;
  begin = 0;
  frame = 0;
  tune = "";

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.parent = parent;
    this.root = find(parent, ".player");
    this.button = find(parent, "button");
    this.svg = find(parent, "svg", SVGSVGElement);
    this.button.addEventListener("click", () => (this.sound ? this.stop() : this.play()));
  }

  rest() {
    this.stop();
  }

  /** @param {Component<Message>} component */
  update({ data }) {
    this.data = data;
    const tune = JSON.stringify(data.notes);
    if (tune !== this.tune) {
      this.stop();
      this.draw();
    }
    this.tune = tune;
    this.svg.setAttribute("aria-label", data.words.label);
    this.colour();
    this.name();
  }

  colour() {
    if (this.data) setColours(this.root, shownColours(this.parent, this.data));
  }

  name() {
    find(this.button, ".sign").textContent = this.sound ? "■" : "▶";
    find(this.button, ".word").textContent = this.sound ? this.data.words.stop : this.data.words.play;
  }

  draw() {
    const { notes } = this.data;
    const keys = notes.map(([key]) => key);
    const [low, high] = [Math.min(...keys), Math.max(...keys)];
    const step = (HEIGHT - 2 * ROOM) / Math.max(high - low, 1);
    this.svg.setAttribute("viewBox", `0 0 ${length(notes)} ${HEIGHT}`);
    const bars = notes.map(([key, start, quarters]) =>
      makeSvg("rect", {
        x: start + 0.04,
        width: Math.max(quarters - 0.08, 0.05),
        y: HEIGHT - ROOM - (key - low) * step - 4,
        height: 8,
      }),
    );
    this.svg.replaceChildren(...bars);
  }

  play() {
    const sound = new AudioContext();
    this.sound = sound;
    this.begin = sound.currentTime + 0.08;
    for (const [key, start, quarters] of this.data.notes) {
      const from = this.begin + start * SECONDS_PER_QUARTER;
      const to = from + quarters * SECONDS_PER_QUARTER;
      const tone = sound.createOscillator();
      const volume = sound.createGain();
      tone.type = "triangle";
      tone.frequency.value = 440 * 2 ** ((key - 69) / 12);
      volume.gain.setValueAtTime(0, from);
      volume.gain.linearRampToValueAtTime(LOUDNESS, from + SOFT);
      volume.gain.setValueAtTime(LOUDNESS, to - SOFT);
      volume.gain.linearRampToValueAtTime(0, to);
      tone.connect(volume).connect(sound.destination);
      tone.start(from);
      tone.stop(to);
    }
    this.name();
    this.follow();
  }

  /** Mark the note that sounds, until the end of the tune. */
  follow() {
    if (!this.sound) return;
    const now = (this.sound.currentTime - this.begin) / SECONDS_PER_QUARTER;
    this.data.notes.forEach(([, start, quarters], n) => {
      this.svg.children[n].classList.toggle("now", start <= now && now < start + quarters);
    });
    if (now >= length(this.data.notes)) this.stop();
    else this.frame = requestAnimationFrame(() => this.follow());
  }

  stop() {
    cancelAnimationFrame(this.frame);
    const { sound } = this;
    this.sound = null;
    if (!sound) return;
    void sound.close();
    for (const bar of this.svg.children) bar.classList.remove("now");
    this.name();
  }
}

/**
 * Return the length of a tune in quarters.
 * @param {[number, number, number][]} notes
 */
function length(notes) {
  return Math.max(...notes.map(([, start, quarters]) => start + quarters));
}
