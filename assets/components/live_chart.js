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

class Chart {
  constructor(parent) {
    this.box = parent.querySelector(".minigpt-live-chart");
    this.work = Promise.resolve();
    this.observer = new ResizeObserver(() => this.fit());
    this.touch = (event) => this.box.classList.toggle("is-touched", event.composedPath().includes(this.box));
  }

  wake() {
    this.observer.observe(this.box);
    document.addEventListener("pointerdown", this.touch, true); // Plotly keeps some of them to itself
  }

  rest() {
    this.observer.disconnect();
    document.removeEventListener("pointerdown", this.touch, true);
    this.figure = this.config = null;
    this.width = 0;
    this.work.then(() => this.isAwake || window.Plotly?.purge(this.box));
  }

  // What Plotly is still drawing it must not be robbed of, or it fails halfway.
  await(drawing) {
    this.work = Promise.allSettled([this.work, drawing]);
  }

  update({ data }) {
    const figure = JSON.parse(data.figure);
    this.box.style.height = `${figure.layout.height}px`;
    this.box.setAttribute("aria-label", data.alt);
    this.figure = figure;
    plotly(data.script)
      .then((Plotly) => {
        if (this.figure === figure) this.draw(Plotly, data.config); // else a newer one has come meanwhile, or none is wanted
      })
      .catch((error) => console.warn(error.message));
  }

  // Told of its buttons a second time, Plotly takes them for others, and begins a new chart without the zoom.
  draw(Plotly, config) {
    const isSame = this.config === JSON.stringify(config);
    this.config = JSON.stringify(config);
    this.await(Plotly.react(this.box, this.figure.data, this.figure.layout, isSame ? undefined : withSvg(Plotly, config)));
    this.width = this.box.offsetWidth;
  }

  // Watching a box begins with a call as well, which must not draw everything once more.
  fit() {
    const width = this.box.offsetWidth;
    if (!this.width || !width || width === this.width) return;
    this.width = width;
    this.await(window.Plotly.Plots.resize(this.box));
  }
}

export default function (component) {
  return keep(component, Chart);
}
