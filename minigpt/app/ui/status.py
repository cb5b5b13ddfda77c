"""The badge of a run's status: colour, icon and word."""

from __future__ import annotations

from minigpt.app.texts import t

STATUS_COLOURS = {
    "queued": "gray",
    "running": "violet",
    "paused": "orange",
    "stopped": "gray",
    "finished": "green",
    "failed": "red",
}
STATUS_ICONS = {
    "queued": ":material/hourglass_empty:",
    "running": ":material/play_circle:",
    "paused": ":material/pause_circle:",
    "stopped": ":material/stop_circle:",
    "finished": ":material/check_circle:",
    "failed": ":material/error:",
}


def status_badge(status: str) -> str:
    """Return a run's status as Markdown: colour, icon and word."""
    return f":{STATUS_COLOURS[status]}-badge[{STATUS_ICONS[status]} {t(f'frame.status_{status}')}]"
