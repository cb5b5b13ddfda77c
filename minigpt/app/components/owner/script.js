// One key for each browser, kept where only pages of this site can read it.

import { loadPlotly } from "../plotly.js";

/** @import { Component } from "../shared.js" */

const PLACE = "minigpt:owner";
const LEFT = "minigpt:left"; // changes when the visitor leaves, which tells the other tabs

/** Begin again with a new session, and without the run in the address. */
function begin() {
  window.location.replace(window.location.pathname);
}

/** @param {string} offered @returns {string} The browser's key. */
function browserKey(offered) {
  try {
    const kept = window.localStorage.getItem(PLACE);
    if (kept && /^[\w-]{16,64}$/.test(kept)) return kept;
    window.localStorage.setItem(PLACE, offered);
  } catch {
    // storage is switched off: the key lives as long as the session
  }
  return offered;
}

/**
 * Do something once the script has ended. A value that is sent earlier can overtake the message that tells the browser
 * which page it shows, and Streamlit then opens Home instead of the page in the address.
 * @param {() => void} act
 * @returns {() => void} Do it no more.
 */
function atRest(act) {
  const app = document.querySelector("[data-test-script-state]");
  const isAtRest = () => app?.getAttribute("data-test-script-state") === "notRunning";
  if (!app || isAtRest()) {
    act();
    return () => {};
  }
  const observer = new MutationObserver(() => {
    if (!isAtRest()) return;
    observer.disconnect();
    act();
  });
  observer.observe(app, { attributes: true });
  return () => observer.disconnect();
}

/** @param {Component<{ offered: string, known: boolean, leave: string, plotly: string }>} component */
export default function ({ data, setStateValue }) {
  if (data.leave) {
    try {
      window.localStorage.setItem(PLACE, data.offered);
      window.localStorage.setItem(LEFT, data.leave);
    } catch {
      // storage is switched off, and a new session gets a new key anyway
    }
    begin();
    return;
  }
  const answer = () => {
    setStateValue("key", browserKey(data.offered));
    if (data.plotly) loadPlotly(data.plotly).catch(() => {}); // a chart will try again
  };
  const forget = data.known ? () => {} : atRest(answer);
  /** @param {StorageEvent} event */
  const follow = (event) => {
    if (event.key === LEFT) begin();
  };
  window.addEventListener("storage", follow);
  return () => {
    forget();
    window.removeEventListener("storage", follow);
  };
}
