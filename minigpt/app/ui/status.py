"""The badge of a run's status: colour, icon and word."""

from __future__ import annotations

from minigpt.app.texts import percent, t

STATUS_COLOURS = {
    "preparing": "gray",
    "queued": "gray",
    "running": "violet",
    "paused": "orange",
    "stopped": "gray",
    "finished": "green",
    "failed": "red",
}
STATUS_ICONS = {
    "preparing": ":material/hourglass_top:",
    "queued": ":material/hourglass_empty:",
    "running": ":material/play_circle:",
    "paused": ":material/pause_circle:",
    "stopped": ":material/stop_circle:",
    "finished": ":material/check_circle:",
    "failed": ":material/error:",
}


def status_words(status: str, progress: float | None = None) -> str:
    """Return a run's status in words.

    Args:
        status: The status, as in `RunSnapshot`.
        progress: Share of the text that is prepared, 0 to 1; None: not shown.
    """
    words = t(f"frame.status_{status}")
    return words if progress is None else t("frame.status_progress", status=words, share=percent(progress))


def status_badge(status: str, progress: float | None = None) -> str:
    """Return a run's status as Markdown: colour, icon and words, see `status_words`."""
    return f":{STATUS_COLOURS[status]}-badge[{STATUS_ICONS[status]} {status_words(status, progress)}]"
