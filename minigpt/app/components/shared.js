// What the components' scripts share.

/**
 * What Streamlit calls a component's script with.
 * @template Data
 * @typedef {object} Component
 * @property {HTMLElement | ShadowRoot} parentElement The place on the page, with the component's markup in it.
 * @property {Data} data What Python has sent.
 * @property {(name: string, value: unknown) => void} setStateValue Keep a value in `st.session_state`.
 * @property {(name: string, value: unknown) => void} setTriggerValue Tell Python of something that happened just now.
 */

/**
 * What draws one place on the page.
 * @template Data
 * @typedef {object} View
 * @property {() => void} [wake] Watch the page: sizes, visibility.
 * @property {() => void} [rest] Stop watching.
 * @property {() => void} [colour] Take the colours of the theme that is shown; called when it changes.
 * @property {(component: Component<Data>) => void} update Draw new data.
 * @property {boolean} [isAwake]
 * @property {Component<Data>[]} [calls] The calls of this task; of earlier ones only the last.
 */

/** @type {WeakMap<Node, View<any>>} */
const views = new WeakMap();

/**
 * Draw with one view for each place on the page: it is made once and then told of every change.
 *
 * Streamlit calls the script for each change without waiting for the call before. While the browser loads the script,
 * several calls wait for it, and the browser lets them go on in any order: the call with the newest data may come first.
 * Streamlit cleans up after an outdated call in the same task. So the view then shows again what it was told before, and
 * rests only where the clean-up belongs to the last call; a view that rests can wake again.
 * @template Data
 * @param {Component<Data>} component
 * @param {new (parent: HTMLElement | ShadowRoot) => View<Data>} NewView
 * @returns {() => void} What Streamlit calls to clean up.
 */
export function keep(component, NewView) {
  const { parentElement } = component;
  const view = views.get(parentElement) ?? new NewView(parentElement);
  views.set(parentElement, view);
  view.calls = [...(view.calls ?? []), component];
  setTimeout(() => (view.calls = view.calls?.slice(-1)));
  if (!view.isAwake) wake(view);
  show(view, component);
  return () => {
    const shown = view.calls?.at(-1);
    view.calls = view.calls?.filter((call) => call !== component);
    if (shown !== component) return;
    const newer = view.calls?.at(-1);
    if (newer && parentElement.isConnected) show(view, newer);
    else rest(view);
  };
}

/**
 * @param {View<any>} view
 * @param {Component<any>} component
 */
function show(view, component) {
  if (component.data) view.update(component);
}

/** @param {View<any>} view */
function wake(view) {
  view.isAwake = true;
  awake.add(view);
  view.wake?.();
}

/** @param {View<any>} view */
function rest(view) {
  view.isAwake = false;
  awake.delete(view);
  view.rest?.();
}

/**
 * Take a message apart: four bytes with the length of the header, the header as JSON, then the numbers as raw bytes.
 * @template {{ bytes: Uint8Array }} Message
 * @param {Uint8Array | ArrayBuffer} data
 * @returns {Message} The header, with the numbers as `bytes`.
 */
export function unpack(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const size = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  return { ...header, bytes: bytes.subarray(4 + size) };
}

// ---- elements

/**
 * @template {Element} [Found=HTMLElement]
 * @param {ParentNode} root
 * @param {string} selector
 * @param {{ new (): Found }} Kind
 */
export function find(root, selector, Kind = /** @type {any} */ (HTMLElement)) {
  const found = root.querySelector(selector);
  if (found instanceof Kind) return found;
  throw new Error(`the component's markup has no ${selector}`);
}

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 */
export function make(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

/**
 * @template {keyof SVGElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, string | number>} attributes
 */
export function makeSvg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, String(value));
  return made;
}

/** @param {HTMLCanvasElement} canvas */
export function penOf(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}

/** @param {number} share */
export function percent(share) {
  if (share > 0 && share < 0.005) return "< 1 %";
  return share >= 0.995 && share < 0.99995 ? "> 99 %" : `${Math.round(share * 100)} %`; // as texts.percent
}

// ---- colours

/**
 * @template Colours
 * @typedef {{ light: Colours, dark: Colours }} Themes
 */

/**
 * Return the colours of the theme that the page shows.
 * @template Colours
 * @param {HTMLElement | ShadowRoot} parent Where the component is drawn.
 * @param {Themes<Colours>} themes
 */
export function shownColours(parent, themes) {
  return isDark(parent) ? themes.dark : themes.light;
}

/**
 * Return the style at a component's place, which holds Streamlit's own variables (`--st-...`).
 * @param {HTMLElement | ShadowRoot} parent
 */
export function styleOf(parent) {
  return getComputedStyle(parent instanceof ShadowRoot ? parent.host : parent);
}

/** @type {boolean | undefined} Unknown until a component asks: the browser computes all styles of the page for that. */
let pageIsDark;

/** @type {Set<View<any>>} */
const awake = new Set();

/** Give all components the colours of another theme, of which Streamlit does not tell them. */
function repaint() {
  pageIsDark = undefined;
  for (const view of awake) view.colour?.();
}

const app = document.querySelector("[data-testid=stApp]") ?? document.documentElement;
new MutationObserver(repaint).observe(app, { attributes: true, attributeFilter: ["class"] }); // one class for each theme

/** @param {HTMLElement | ShadowRoot} parent */
function isDark(parent) {
  pageIsDark ??= hasDarkGround(styleOf(parent));
  return pageIsDark;
}

/** @param {CSSStyleDeclaration} style */
function hasDarkGround(style) {
  const pen = penOf(document.createElement("canvas"));
  pen.fillStyle = style.getPropertyValue("--st-background-color").trim() || "#ffffff";
  const [red, green, blue] = rgb(pen.fillStyle); // a canvas gives every colour back as #rrggbb
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
}

/**
 * Offer single colours to the style sheet, as `--<prefix><name>`; scales are left out.
 * @param {HTMLElement} root
 * @param {Record<string, string | string[]>} colours
 */
export function setColours(root, colours, prefix = "") {
  for (const [name, colour] of Object.entries(colours)) {
    if (typeof colour === "string") root.style.setProperty(`--${prefix}${name}`, colour);
  }
}

/** @param {string} colour As `#rrggbb`. */
function rgb(colour) {
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
}

/**
 * Return the colour at a place between 0 and 1 on a scale, as three numbers of 0 to 255.
 * @param {string[]} stops The colours of the scale, evenly spaced.
 * @returns {(share: number) => number[]}
 */
export function scale(stops) {
  const colours = stops.map(rgb);
  return (share) => {
    const at = Math.max(0, Math.min(1, share)) * (colours.length - 1);
    const low = Math.min(colours.length - 2, Math.floor(at));
    return colours[low].map((part, i) => Math.round(part + (colours[low + 1][i] - part) * (at - low)));
  };
}

/**
 * Return the colour of each byte along a scale, as an image holds them: four bytes in one number.
 * @param {string[]} stops
 */
export function lookUp(stops) {
  const table = new Uint32Array(256);
  const bytes = new Uint8Array(table.buffer);
  const colour = scale(stops);
  for (let value = 0; value < 256; value++) bytes.set([...colour(value / 255), 255], 4 * value);
  return table;
}

/**
 * Hatch a square: what the causal mask forbids.
 * @param {CanvasRenderingContext2D} pen
 * @param {{ x: number, y: number, size: number }} square
 * @param {{ step: number, width: number }} lines How far apart the lines lie, and how thick they are.
 * @param {{ secondary: string, blocked: string }} colours
 */
export function hatch(pen, { x, y, size }, { step, width }, { secondary, blocked }) {
  pen.fillStyle = secondary;
  pen.fillRect(x, y, size, size);
  pen.strokeStyle = blocked;
  pen.lineWidth = width;
  pen.beginPath();
  for (let at = 0; at < 2 * size; at += step) {
    pen.moveTo(x + at, y);
    pen.lineTo(x + at - size, y + size);
  }
  pen.stroke();
}
