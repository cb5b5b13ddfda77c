// Draws a Plotly figure and afterwards only changes it.

import { keep } from "../shared.js";

let loading = null;

function plotly(address) {
  loading ??= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve(window.Plotly);
    const script = document.createElement("script");
    script.src = new URL(address, document.baseURI).href;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null; // a lost connection: the next point tries again
      reject(new Error(`${address} could not be loaded`));
    };
    document.head.append(script);
  });
  return loading;
}

// Plotly's own image button knows one format; "toSvg" among a chart's buttons is a second one.
function withSvg(Plotly, config) {
  if (!config.modeBarButtons) return config;
  const svg = {
    name: "toSvg",
    title: "Download plot as an svg",
    icon: Plotly.Icons.disk,
    click: (chart) => Plotly.downloadImage(chart, { ...config.toImageButtonOptions, format: "svg", scale: 1 }),
  };
  const buttons = config.modeBarButtons.map((group) => group.map((name) => (name === "toSvg" ? svg : name)));
  return { ...config, modeBarButtons: buttons };
}

const MOVES = {
  ArrowLeft: ["left", -1], ArrowRight: ["left", 1], Home: ["main", -Infinity], End: ["main", Infinity],
  ArrowUp: ["top", -1], ArrowDown: ["top", 1], PageUp: ["curve", -1], PageDown: ["curve", 1],
};
const LABEL_DELAY = 60; // ms; Plotly writes a label at most every 50
// Distances that differ by less are equal, in pixels: Plotly rounds places to 0.01, and that must not choose a point.
const SAME = 0.03;

class Chart {
  constructor(parent) {
    this.box = parent.querySelector(".minigpt-live-chart");
    this.said = parent.querySelector(".minigpt-chart-said");
    this.box.addEventListener("keydown", (event) => this.key(event));
    this.box.addEventListener("blur", () => this.leave());
    this.work = Promise.resolve();
    this.observer = new ResizeObserver(() => this.fit());
    this.touch = (event) => this.box.classList.toggle("is-touched", event.composedPath().includes(this.box));
  }

  wake() {
    this.observer.observe(this.box);
    document.addEventListener("pointerdown", this.touch, true); // Plotly keeps some of them to itself
  }

  rest() {
    this.observer.disconnect();
    document.removeEventListener("pointerdown", this.touch, true);
    this.leave();
    this.figure = this.config = null;
    this.width = 0;
    this.work.then(() => this.isAwake || window.Plotly?.purge(this.box));
  }

  // What Plotly is still drawing it must not be robbed of, or it fails halfway.
  waitFor(drawing) {
    this.work = Promise.allSettled([this.work, drawing]);
  }

  update({ data }) {
    const figure = JSON.parse(data.figure);
    this.box.style.height = `${figure.layout.height}px`;
    this.box.setAttribute("aria-label", data.alt);
    this.box.dataset.keys = data.keys;
    this.figure = figure;
    plotly(data.script)
      .then((Plotly) => {
        if (this.figure === figure) this.draw(Plotly, data.config); // else a newer one has come meanwhile, or none is wanted
      })
      .catch((error) => console.warn(error.message));
  }

  // Told of its buttons a second time, Plotly takes them for others, and begins a new chart without the zoom.
  draw(Plotly, config) {
    const isSame = this.config === JSON.stringify(config);
    this.config = JSON.stringify(config);
    this.waitFor(Plotly.react(this.box, this.figure.data, this.figure.layout, isSame ? undefined : withSvg(Plotly, config)));
    this.width = this.box.offsetWidth;
  }

  // Watching a box begins with a call as well, which must not draw everything once more.
  fit() {
    const width = this.box.offsetWidth;
    if (!this.width || !width || width === this.width) return;
    this.width = width;
    this.waitFor(window.Plotly.Plots.resize(this.box));
  }

  // ---- what the mouse finds by pointing, the keyboard finds by walking

  key(event) {
    if (event.key === "Escape") this.leave();
    const [way, by] = MOVES[event.key] ?? [];
    if (!way || event.target !== this.box || event.altKey || event.ctrlKey || event.metaKey) return;
    const curves = this.box.calcdata ? curvesOf(this.box) : [];
    if (!curves.length) return;
    event.preventDefault();
    this.at = this.at ? step(curves, this.at, way, by) : { ...curves[0], spot: curves[0].spots[0] };
    const { subplot, spot } = this.at;
    window.Plotly.Fx.hover(this.box, spot.pick, subplot);
    clearTimeout(this.saying);
    this.saying = setTimeout(() => (this.said.textContent = labelOf(this.box)), LABEL_DELAY);
  }

  leave() {
    clearTimeout(this.saying);
    this.said.textContent = "";
    if (this.at) window.Plotly.Fx.unhover(this.box);
    this.at = null;
  }
}

export default function (component) {
  return keep(component, Chart);
}

// ---- small helpers

function labelOf(box) {
  const lines = [...box.querySelectorAll(".hoverlayer text")].flatMap((text) => {
    const parts = [...text.querySelectorAll("tspan.line")];
    return (parts.length ? parts : [text]).map((part) => part.textContent.trim());
  });
  return lines.filter(Boolean).join(", ");
}

// Every curve or map of which the mouse would be told something, with the places of its points in the chart's box.
function curvesOf({ calcdata, _fullLayout: layout }) {
  return calcdata.flatMap((points, curve) => {
    const { trace } = points[0];
    const [across, down] = ["x", "y"].map((way) => layout[trace?.[`${way}axis`]?.replace(way, `${way}axis`)]);
    if (!across || !down || trace.visible !== true || ["skip", "none"].includes(trace.hoverinfo)) return [];
    const isGrid = trace.type === "heatmap";
    const spots = (isGrid ? cellsOf(points[0]) : points.map((point, index) => pointOf(point, index, curve, layout)))
      .map(({ x, y, pick }) => ({ pick, left: across.c2p(x), top: down.c2p(y) }))
      .filter(({ left, top }) => left >= 0 && left <= across._length && top >= 0 && top <= down._length) // not zoomed away
      .map(({ pick, left, top }) => ({ pick, left: across._offset + left, top: down._offset + top }));
    const main = isGrid || trace.orientation !== "h" ? "left" : "top";
    spots.sort((one, other) => one[main] - other[main]);
    return spots.length ? [{ curve, subplot: trace.xaxis + trace.yaxis, isGrid, main, spots }] : [];
  });
}

// A chart that compares its curves where the mouse is does so for the keyboard too.
function pointOf({ x, y }, pointNumber, curveNumber, { hovermode }) {
  return { x, y, pick: hovermode === "x" ? { xval: x } : [{ curveNumber, pointNumber }] };
}

// A map's cells; Plotly keeps where they begin and end.
function cellsOf({ x, y, z }) {
  const middle = (edges, index) => (index + 1 < edges.length ? (edges[index] + edges[index + 1]) / 2 : edges[index]);
  return z.flatMap((row, down) =>
    Array.from(row, (_, across) => {
      const [xval, yval] = [middle(x, across), middle(y, down)];
      return { x: xval, y: yval, pick: { xval, yval } };
    }),
  );
}

// One step along a curve or in a map; across a curve's run, to the one that lies that way; by page, to any other.
function step(curves, at, way, by) {
  const here = Math.max(0, curves.findIndex(({ curve }) => curve === at.curve));
  const now = curves[here], spot = nearest(now, at.spot);
  if (way === "curve") {
    const next = curves[Math.max(0, Math.min(curves.length - 1, here + by))];
    return { ...next, spot: nearest(next, spot) };
  }
  const along = way === "main" ? now.main : way;
  if (now.isGrid || along === now.main) {
    const other = along === "left" ? "top" : "left";
    const line = now.isGrid ? now.spots.filter((each) => each[other] === spot[other]) : [...now.spots];
    line.sort((one, next) => one[along] - next[along]);
    return { ...now, spot: line[Math.max(0, Math.min(line.length - 1, line.indexOf(spot) + by))] };
  }
  const ahead = curves
    .filter((curve) => curve !== now && !curve.isGrid)
    .map((curve) => ({ ...curve, spot: nearest(curve, spot) }))
    .filter((each) => (each.spot[along] - spot[along]) * by > SAME)
    .sort((one, next) => (one.spot[along] - next.spot[along]) * by);
  return ahead[0] ?? { ...now, spot };
}

// The point of a curve that is nearest to a place; the chart may have grown or been zoomed since. Of points that are
// equally near, the first wins: the leftmost one, or the topmost one of horizontal bars.
function nearest({ isGrid, main, spots }, place) {
  const apart = (spot) => (isGrid ? Math.hypot(spot.left - place.left, spot.top - place.top) : Math.abs(spot[main] - place[main]));
  return spots.reduce((best, spot) => (apart(spot) < apart(best) - SAME ? spot : best));
}
