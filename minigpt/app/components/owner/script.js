// One token for each browser, kept where only pages of this site can read it.

/** @import { Component } from "../shared.js" */

const PLACE = "minigpt:owner";

/** @param {Component<{ offered: string }>} component */
export default function ({ data, setStateValue }) {
  let kept = null;
  try {
    kept = window.localStorage.getItem(PLACE);
    if (!kept) window.localStorage.setItem(PLACE, data.offered);
  } catch {
    return; // storage is switched off: the token lives as long as the session
  }
  if (kept && kept !== data.offered) setStateValue("token", kept);
}
