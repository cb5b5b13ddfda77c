// Scrolls the page to its top, once for each occasion.

/** @import { Component } from "../shared.js" */

let last = "";

/** @param {Component<{ occasion: string }>} component */
export default function ({ data }) {
  if (data.occasion === last) return;
  last = data.occasion;
  document.querySelector('[data-testid="stMain"]')?.scrollTo({ top: 0 });
}
