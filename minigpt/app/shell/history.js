// A page that the visitor opens is one entry of the browser's history.
//
// The run that a page shows is in its address, and Streamlit makes an entry of each change of the address. It also
// empties the address when a page is opened, so that the page has to put the run back. Then Back would first lead to
// the same page. Here a new address of the same page replaces the one before.
(() => {
  const push = history.pushState.bind(history);
  history.pushState = (state, unused, url) => {
    const isSamePage = new URL(url ?? "", location.href).pathname === location.pathname;
    if (isSamePage) {
      history.replaceState(state, unused, url);
    } else {
      push(state, unused, url);
    }
  };
})();
