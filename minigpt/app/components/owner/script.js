// One token a browser, kept where pages of this site alone can read it.
const PLACE = "minigpt:owner";

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
