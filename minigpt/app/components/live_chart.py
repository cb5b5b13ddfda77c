"""A Plotly figure that is changed in place, so that zoom, hover and the eye's hold survive every new point.

`st.plotly_chart` throws its chart away whenever the figure changes. Here the browser keeps one chart and hands it the
new figure (`Plotly.react`). The script is the one that the plotly package carries; the server offers it at an address
of its own. Where it cannot (a host that runs the app as a plain script), Streamlit's chart is drawn instead.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from minigpt import resources
from minigpt.app import server

_COMPONENT = st.components.v2.component(
    "minigpt_live_chart",
    html='<div class="minigpt-live-chart" role="figure"></div>',
    js=resources.asset_path("components", "live_chart.js").read_text("utf-8"),
    isolate_styles=False,
)


def live_chart(figure: go.Figure, *, key: str, alt: str, config: dict[str, Any]) -> None:
    """Draw a figure, or change the one that is there.

    Args:
        figure: What to draw; its `uirevision` decides whether a zoom stays, its height must not change.
        key: Names the chart from one rerun to the next.
        alt: What it shows, for those who cannot see it.
        config: Plotly's configuration; among its `modeBarButtons`, `toSvg` is ours.
    """
    if not server.offers_plotly():
        if "modeBarButtons" in config:
            known = [[name for name in group if name != "toSvg"] for group in config["modeBarButtons"]]
            config = {**config, "modeBarButtons": known}
        st.plotly_chart(figure, theme=None, key=key, config=config, alt=alt)
        return
    data = {"figure": figure.to_json(), "config": config, "alt": alt, "script": server.PLOTLY_ADDRESS}
    _COMPONENT(key=key, data=data, height=int(figure.layout.height))
