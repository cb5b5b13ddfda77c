// Plotly's own script: loaded once for all components of a page.

/** @typedef {any} Plotly Plotly's own script, which has no types here. */

/** @returns {Plotly | undefined} */
export function loadedPlotly() {
  return /** @type {any} */ (window).Plotly;
}

/**
 * Return Plotly. Each component has its own copy of this module, so the element of the script says that it is on its way.
 * @param {string} address
 * @returns {Promise<Plotly>}
 */
export function loadPlotly(address) {
  if (loadedPlotly()) return Promise.resolve(loadedPlotly());
  const { href } = new URL(address, document.baseURI);
  /** @type {HTMLScriptElement | undefined} */
  let script = [...document.scripts].find((each) => each.src === href);
  if (!script) {
    script = document.createElement("script");
    script.src = href;
    document.head.append(script);
  }
  const wanted = script;
  return new Promise((resolve, reject) => {
    wanted.addEventListener("load", () => resolve(loadedPlotly()));
    wanted.addEventListener("error", () => {
      wanted.remove(); // a lost connection: the next point tries again
      reject(new Error(`${address} could not be loaded`));
    });
  });
}
