// What the components' scripts share.

const views = new WeakMap();

// One view for each place on the page: made once, then told of every change.
//
// Streamlit calls again without waiting for the first call, which may still be loading this script, and then cleans up
// after the first while the second is on show. So only the last call's cleaning counts, and what rests can wake.
export function keep(component, View) {
  const { parentElement, data } = component;
  if (!views.has(parentElement)) views.set(parentElement, new View(parentElement));
  const view = views.get(parentElement);
  const turn = (view.turn = (view.turn ?? 0) + 1);
  if (!view.isAwake) view.wake();
  view.isAwake = true;
  if (data) view.update(component);
  return () => {
    if (view.turn !== turn) return;
    view.isAwake = false;
    view.rest();
  };
}

// Parts a message: four bytes say how long the header is, the JSON header follows, and after it raw bytes.
export function unpack(data) {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  const size = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size)));
  return { ...header, bytes: bytes.subarray(4 + size) };
}

export function make(tag, name = "", text = "") {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text) made.textContent = text;
  return made;
}

export function percent(share) {
  if (share > 0 && share < 0.005) return "< 1 %";
  return share >= 0.995 && share < 0.99995 ? "> 99 %" : `${Math.round(share * 100)} %`; // as texts.percent
}

export function rgb(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

export function isDark(style) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.fillStyle = style.getPropertyValue("--st-background-color").trim() || "#ffffff"; // normalised to #rrggbb
  const [red, green, blue] = rgb(pen.fillStyle);
  return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
}

// The colour of each byte, four bytes each as an image holds them, along a scale of colours.
export function lookUp(stops) {
  const table = new Uint32Array(256);
  const bytes = new Uint8Array(table.buffer);
  const colours = stops.map(rgb);
  for (let value = 0; value < 256; value++) {
    const at = (value / 255) * (colours.length - 1);
    const low = Math.min(colours.length - 2, Math.floor(at));
    const mixed = colours[low].map((part, i) => Math.round(part + (colours[low + 1][i] - part) * (at - low)));
    bytes.set([...mixed, 255], 4 * value);
  }
  return table;
}
