// The points of a chart that Plotly has drawn, and the way from one to another by key.

/**
 * What `Plotly.Fx.hover` takes: a point, or a place on the axes.
 * @typedef {{ xval: unknown, yval?: unknown } | { curveNumber: number, pointNumber: number }[]} Pick
 */

/**
 * A point and its place in the chart's box, in pixels.
 * @typedef {{ pick: Pick, left: number, top: number }} Spot
 */

/** @typedef {"left" | "top"} Side */

/**
 * @typedef {object} Curve
 * @property {number} curve Its number in the figure.
 * @property {string} subplot
 * @property {boolean} isGrid Whether it is a heat map, whose points lie in rows and columns.
 * @property {Side} main The direction in which it runs.
 * @property {Spot[]} spots In that direction.
 */

/** @typedef {Curve & { spot: Spot }} Place A point of a curve. */

/** @typedef {any} Drawn What Plotly keeps in a chart's element; it has no published type. */

// Distances that differ by less are equal, in pixels: Plotly rounds places to 0.01, and that must not choose a point.
const SAME = 0.03;

/** @type {Record<string, [way: Side | "main" | "curve", by: number]>} */
const MOVES = {
  ArrowLeft: ["left", -1],
  ArrowRight: ["left", 1],
  ArrowUp: ["top", -1],
  ArrowDown: ["top", 1],
  Home: ["main", -Infinity],
  End: ["main", Infinity],
  PageUp: ["curve", -1],
  PageDown: ["curve", 1],
};

/**
 * Return whether a key moves from point to point.
 * @param {string} key
 */
export function isMove(key) {
  return Object.hasOwn(MOVES, key);
}

/**
 * Return every curve or map that answers the mouse and has points in view.
 * @param {Drawn} chart
 * @returns {Curve[]}
 */
export function curvesOf({ calcdata = [], _fullLayout: layout }) {
  return calcdata.flatMap((/** @type {Drawn[]} */ points, /** @type {number} */ curve) => {
    const { trace } = points[0];
    const [across, down] = ["x", "y"].map((way) => layout[trace?.[`${way}axis`]?.replace(way, `${way}axis`)]);
    if (!across || !down || trace.visible !== true || ["skip", "none"].includes(trace.hoverinfo)) return [];
    const isGrid = trace.type === "heatmap";
    /** @param {number} index */
    const pickOf = (index) =>
      layout.hovermode === "x" ? { xval: points[index].x } : [{ curveNumber: curve, pointNumber: index }];
    const places = isGrid ? cellsOf(points[0]) : points.map(({ x, y }, index) => ({ x, y, pick: pickOf(index) }));
    const spots = places
      .map(({ x, y, pick }) => ({ pick, left: across.c2p(x), top: down.c2p(y) }))
      .filter(({ left, top }) => left >= 0 && left <= across._length && top >= 0 && top <= down._length) // not zoomed away
      .map(({ pick, left, top }) => ({ pick, left: across._offset + left, top: down._offset + top }));
    /** @type {Side} */
    const main = isGrid || trace.orientation !== "h" ? "left" : "top";
    spots.sort((one, other) => one[main] - other[main]);
    return spots.length ? [{ curve, subplot: trace.xaxis + trace.yaxis, isGrid, main, spots }] : [];
  });
}

/**
 * Return the cells of a heat map. Plotly keeps where they begin and end; a cell's place is its middle.
 * @param {{ x: number[], y: number[], z: ArrayLike<unknown>[] }} map
 */
function cellsOf({ x, y, z }) {
  /**
   * @param {number[]} edges
   * @param {number} index
   */
  const middle = (edges, index) => (index + 1 < edges.length ? (edges[index] + edges[index + 1]) / 2 : edges[index]);
  return z.flatMap((row, down) =>
    Array.from(row, (_, across) => {
      const [xval, yval] = [middle(x, across), middle(y, down)];
      return { x: xval, y: yval, pick: { xval, yval } };
    }),
  );
}

/**
 * Return where a key leads: one point further along a curve or in a map; across the direction in which a curve runs, to
 * the next curve that lies there; by page, to the next curve or map of the figure.
 * @param {Curve[]} curves
 * @param {Place} at
 * @param {string} key
 * @returns {Place}
 */
export function step(curves, at, key) {
  const [way, by] = MOVES[key];
  const here = clamp(
    curves.findIndex(({ curve }) => curve === at.curve),
    curves,
  ); // its curve may be hidden by now
  const now = curves[here];
  const spot = nearest(now, at.spot);
  if (way === "curve") {
    const next = curves[clamp(here + by, curves)];
    return { ...next, spot: nearest(next, spot) };
  }
  const along = way === "main" ? now.main : way;
  if (now.isGrid || along === now.main) {
    const other = along === "left" ? "top" : "left";
    const line = now.isGrid ? now.spots.filter((each) => each[other] === spot[other]) : [...now.spots];
    line.sort((one, next) => one[along] - next[along]);
    return { ...now, spot: line[clamp(line.indexOf(spot) + by, line)] };
  }
  const ahead = curves
    .filter((curve) => curve !== now && !curve.isGrid)
    .map((curve) => ({ ...curve, spot: nearest(curve, spot) }))
    .filter((each) => (each.spot[along] - spot[along]) * by > SAME)
    .sort((one, next) => (one.spot[along] - next.spot[along]) * by);
  return ahead[0] ?? { ...now, spot };
}

/**
 * Return the point of a curve that is nearest to a place; the chart may have grown or been zoomed since. Of points that
 * are equally near, the first wins: the leftmost one, or the topmost one of horizontal bars.
 * @param {Curve} curve
 * @param {{ left: number, top: number }} place
 */
function nearest({ isGrid, main, spots }, place) {
  /** @param {Spot} spot */
  const apart = (spot) =>
    isGrid ? Math.hypot(spot.left - place.left, spot.top - place.top) : Math.abs(spot[main] - place[main]);
  return spots.reduce((best, spot) => (apart(spot) < apart(best) - SAME ? spot : best));
}

/**
 * @param {number} index
 * @param {unknown[]} list
 */
function clamp(index, list) {
  return Math.max(0, Math.min(list.length - 1, index));
}
