"""A Plotly figure that is changed in place, so that the reader keeps zoom and hover label when a point is added.

`st.plotly_chart` replaces its chart whenever the figure changes. Here the browser keeps one chart and passes it the new
figure (`Plotly.react`). The script is the one in the plotly package; the server serves it at an address of its own. If
it cannot (a host that runs the app as a plain script), Streamlit's chart is drawn instead. The arrow keys go from point
to point and show the same label as the mouse, also to screen readers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minigpt.app.components import own_server
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
    """Return Plotly's configuration: buttons for PNG and SVG, zoom where an axis allows it, nothing else.

    Args:
        layout: The figure's layout.
        key: The chart's key; the downloaded files are named after it.
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
    """Draw a figure, or update the one on the page.

    Args:
        figure: What to draw. A zoom stays while its `uirevision` stays the same; its height must not change.
        key: Key of the element; a chart with the same key is updated.
        alt: What the figure shows, for screen readers.
        config: Plotly's configuration, `usual_config` by default. `toSvg` in its `modeBarButtons` is a button of ours.
    """
    spec = figure.to_dict()
    config = usual_config(spec["layout"], key) if config is None else config
    if not own_server.is_running():
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
        "script": own_server.PLOTLY_ADDRESS,
    }
    _component(key=key, data=data, height=int(figure.layout.height))
