// Draws a Plotly figure and afterwards only changes it. See minigpt/app/components/live_chart.py.

let loading = null;

function plotly(address) {
  loading ??= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve(window.Plotly);
    const script = document.createElement("script");
    script.src = new URL(address, document.baseURI).href;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => {
      loading = null; // a lost connection: the next point tries again
      reject(new Error(`${address} could not be loaded`));
    };
    document.head.append(script);
  });
  return loading;
}

// Plotly's own image button knows one format; "toSvg" among a chart's buttons is a second one.
function withSvg(Plotly, config) {
  if (!config.modeBarButtons) return config;
  const svg = {
    name: "toSvg",
    title: "Download plot as an svg",
    icon: Plotly.Icons.disk,
    click: (chart) => Plotly.downloadImage(chart, { ...config.toImageButtonOptions, format: "svg", scale: 1 }),
  };
  const buttons = config.modeBarButtons.map((group) => group.map((name) => (name === "toSvg" ? svg : name)));
  return { ...config, modeBarButtons: buttons };
}

// Watching a box begins with a call as well, which must not draw everything once more.
function fit(Plotly, box) {
  if (!box.isConnected || !box.offsetWidth || box.offsetWidth === box.drawnWidth) return;
  box.drawnWidth = box.offsetWidth;
  Plotly.Plots.resize(box);
}

export default function ({ data, parentElement }) {
  const box = parentElement.querySelector(".minigpt-live-chart");
  const figure = JSON.parse(data.figure);
  box.style.height = `${figure.layout.height}px`;
  box.setAttribute("aria-label", data.alt);
  box.latest = figure;
  plotly(data.script)
    .then((Plotly) => {
      if (box.latest !== figure) return; // a newer figure has come while the script was loading
      // Told of its buttons a second time, Plotly takes them for others, and begins a new chart without the zoom.
      const config = JSON.stringify(data.config);
      Plotly.react(box, figure.data, figure.layout, box.config === config ? undefined : withSvg(Plotly, data.config));
      box.config = config;
      box.drawnWidth = box.offsetWidth;
      box.observer ??= new ResizeObserver(() => fit(Plotly, box));
      box.observer.observe(box);
    })
    .catch((error) => console.warn(error.message));
  return () => {
    box.observer?.disconnect();
    box.config = null;
    if (window.Plotly) window.Plotly.purge(box);
  };
}
