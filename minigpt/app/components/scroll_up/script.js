// Scrolls the page to its top, once for each occasion.
let last = null;

export default function ({ data }) {
  if (data.occasion === last) return;
  last = data.occasion;
  document.querySelector('[data-testid="stMain"]')?.scrollTo({ top: 0 });
}
