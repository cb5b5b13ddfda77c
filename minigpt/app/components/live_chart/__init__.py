"""A Plotly figure that is changed in place, so that zoom, hover and the eye's hold survive every new point.

`st.plotly_chart` throws its chart away whenever the figure changes. Here the browser keeps one chart and hands it the
new figure (`Plotly.react`). The script is the one that the plotly package carries; the server offers it at an address
of its own. What pointing tells, the arrow keys tell as well, going from point to point. Where the server cannot (a host
that runs the app as a plain script), Streamlit's chart is drawn instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigpt.app.components import plotly_script
from minigpt.app.components.registry import Component
from minigpt.app.texts import t

if TYPE_CHECKING:
    import plotly.graph_objects as go

HTML = """
<div class="minigpt-live-chart" role="figure" tabindex="0"></div>
<div class="minigpt-chart-said" role="status"></div>
"""

_component = Component("live_chart", HTML, isolate_styles=False)


def usual_config(layout: dict[str, Any], key: str) -> dict[str, Any]:
    """Return what a figure is shown with: PNG and SVG from its own buttons, zoom where an axis allows it, no more.

    Args:
        layout: The figure's.
        key: Names the chart; the files are called after it.
    """
    axes = [axis for name, axis in layout.items() if name[:5] in ("xaxis", "yaxis")]
    zoom = ["zoom2d", "resetScale2d"] if any(not axis.get("fixedrange") for axis in axes) else []
    return {
        "displaylogo": False,
        "displayModeBar": "hover",
        "modeBarButtons": [["toImage", "toSvg", *zoom]],
        "toImageButtonOptions": {"format": "png", "scale": 2, "filename": key.replace(":", "-")},
    }


def live_chart(figure: go.Figure, *, key: str, alt: str, config: dict[str, Any] | None = None) -> None:
    """Draw a figure, or change the one that is there.

    Args:
        figure: What to draw; its `uirevision` decides whether a zoom stays, its height must not change.
        key: Names the chart from one rerun to the next.
        alt: What it shows, for those who cannot see it.
        config: Plotly's configuration, if not the usual one; among its `modeBarButtons`, `toSvg` is ours.
    """
    spec = figure.to_dict()
    config = usual_config(spec["layout"], key) if config is None else config
    if not plotly_script.is_offered():
        import streamlit as st

        if "modeBarButtons" in config:
            known = [[name for name in group if name != "toSvg"] for group in config["modeBarButtons"]]
            config = {**config, "modeBarButtons": known}
        st.plotly_chart(figure, theme=None, key=key, config=config, alt=alt)
        return
    from plotly.io.json import to_json_plotly

    data = {
        "figure": to_json_plotly(spec),
        "config": config,
        "alt": alt,
        "keys": t("frame.chart_keys"),
        "script": plotly_script.ADDRESS,
    }
    _component(key=key, data=data, height=int(figure.layout.height))
