// Scrolls the page to its top, once for each occasion. See minigpt/app/components/scroll_up.py.
let last = null;

export default function ({ data }) {
  if (data.occasion === last) return;
  last = data.occasion;
  document.querySelector('[data-testid="stMain"]')?.scrollTo({ top: 0 });
}
