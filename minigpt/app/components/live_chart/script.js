// Draws a Plotly figure and afterwards only changes it.

import { loadedPlotly, loadPlotly } from "../plotly.js";
import { find, keep } from "../shared.js";
import { curvesOf, isMove, step } from "./points.js";

/** @import { Plotly } from "../plotly.js" */
/** @import { Component } from "../shared.js" */
/** @import { Place } from "./points.js" */

/** @typedef {{ modeBarButtons?: string[][], toImageButtonOptions?: object }} Config Plotly's configuration, in parts. */
/** @typedef {{ data: object[], layout: { height: number } }} Figure */

/**
 * What Python sends, from `live_chart`.
 * @typedef {object} Message
 * @property {string} figure As JSON.
 * @property {Config} config
 * @property {string} alt What the chart shows, for those who cannot see it.
 * @property {string} keys Which keys move in the chart.
 * @property {string} script The address of Plotly's script.
 */

const LABEL_DELAY = 60; // ms; Plotly writes a label at most every 50

/**
 * Return a chart's configuration with a second image button where it has "toSvg": Plotly's own button knows one format.
 * @param {Plotly} plotly
 * @param {Config} config
 */
function withSvg(plotly, config) {
  if (!config.modeBarButtons) return config;
  const svg = {
    name: "toSvg",
    title: "Download plot as an svg",
    icon: plotly.Icons.disk,
    click: (/** @type {HTMLElement} */ chart) =>
      plotly.downloadImage(chart, { ...config.toImageButtonOptions, format: "svg", scale: 1 }),
  };
  const buttons = config.modeBarButtons.map((group) => group.map((name) => (name === "toSvg" ? svg : name)));
  return { ...config, modeBarButtons: buttons };
}

/** @param {Component<Message>} component */
export default function (component) {
  return keep(component, Chart);
}

class Chart {
  isAwake = false; // see `keep`
  /** @type {Figure | null} The last one that was asked for. */
  figure = null;
  /** @type {string | null} The configuration that was drawn last, as JSON. */
  config = null;
  width = 0;
  /** @type {Promise<unknown>} What Plotly is still drawing. */
  work = Promise.resolve();
  /** @type {Place | null} Where the keys have led. */
  at = null;
  saying = 0;

  /** @param {HTMLElement | ShadowRoot} parent */
  constructor(parent) {
    this.box = find(parent, ".minigpt-live-chart");
    this.said = find(parent, ".minigpt-chart-said");
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("blur", () => this.leave());
    this.observer = new ResizeObserver(() => this.fit());
    // Plotly would take each drag for its own; without the touch, a finger that drags scrolls the page, and a tap still
    // shows the label
    this.box.addEventListener("touchstart", (event) => event.stopPropagation(), { capture: true, passive: true });
    this.touch = (/** @type {Event} */ event) =>
      this.box.classList.toggle("is-touched", event.composedPath().includes(this.box));
  }

  wake() {
    this.observer.observe(this.box);
    document.addEventListener("pointerdown", this.touch, true); // Plotly keeps some of these events to itself
  }

  rest() {
    this.observer.disconnect();
    document.removeEventListener("pointerdown", this.touch, true);
    this.leave();
    this.figure = null;
    this.config = null;
    this.width = 0;
    this.work.then(() => this.isAwake || loadedPlotly()?.purge(this.box));
  }

  /**
   * Remember that Plotly draws: a chart that is taken away while Plotly draws it fails.
   * @param {unknown} drawing
   */
  waitFor(drawing) {
    this.work = Promise.allSettled([this.work, drawing]);
  }

  /** @param {Component<Message>} component */
  update({ data }) {
    /** @type {Figure} */
    const figure = JSON.parse(data.figure);
    this.box.style.height = `${figure.layout.height}px`;
    this.box.setAttribute("aria-label", data.alt);
    this.box.dataset.keys = data.keys;
    this.figure = figure;
    loadPlotly(data.script)
      .then(async (plotly) => {
        // Each chart is drawn in a task of its own, so that the page answers a press between two of them.
        await new Promise((resolve) => setTimeout(resolve));
        if (this.figure === figure) this.draw(plotly, figure, data.config); // else a newer one has come, or none is wanted
      })
      .catch((error) => console.warn(error.message));
  }

  /**
   * Draw a figure. Plotly takes buttons that it is given a second time for others, and then begins a new chart without
   * the zoom; so the configuration is passed only when it has changed.
   * @param {Plotly} plotly
   * @param {Figure} figure
   * @param {Config} config
   */
  draw(plotly, figure, config) {
    const isSame = this.config === JSON.stringify(config);
    this.config = JSON.stringify(config);
    this.waitFor(plotly.react(this.box, figure.data, figure.layout, isSame ? undefined : withSvg(plotly, config)));
    this.width = this.box.offsetWidth;
  }

  /** Follow the width of the box. The observer also calls when it begins, and then nothing has to be drawn. */
  fit() {
    const width = this.box.offsetWidth;
    if (!this.width || !width || width === this.width) return;
    this.width = width;
    this.waitFor(loadedPlotly().Plots.resize(this.box));
  }

  // ---- what the mouse finds by pointing, the keyboard finds by moving from point to point

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape") this.leave();
    if (!isMove(event.key) || event.target !== this.box || event.altKey || event.ctrlKey || event.metaKey) return;
    const curves = curvesOf(this.box);
    if (!curves.length) return;
    event.preventDefault();
    this.at = this.at ? step(curves, this.at, event.key) : { ...curves[0], spot: curves[0].spots[0] };
    loadedPlotly().Fx.hover(this.box, this.at.spot.pick, this.at.subplot);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => {
      this.said.textContent = labelOf(this.box);
    }, LABEL_DELAY);
  }

  leave() {
    clearTimeout(this.saying);
    this.said.textContent = "";
    if (this.at) loadedPlotly().Fx.unhover(this.box);
    this.at = null;
  }
}

/**
 * Return what the label says that Plotly shows at a point.
 * @param {HTMLElement} box
 */
function labelOf(box) {
  const lines = [...box.querySelectorAll(".hoverlayer text")].flatMap((text) => {
    const parts = [...text.querySelectorAll("tspan.line")];
    return (parts.length ? parts : [text]).map((part) => part.textContent?.trim());
  });
  return lines.filter(Boolean).join(", ");
}
