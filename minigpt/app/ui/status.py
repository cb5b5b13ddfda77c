"""A run's status in words, its badge with colour and icon, and its place in the queue."""

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


def queue_words(position: int) -> str:
    """Return how many trainings start before one in the queue.

    Args:
        position: Its place in the queue, from 1.
    """
    return t("frame.queue_next") if position == 1 else t("frame.queue", ahead=position - 1)


def status_badge(status: str, progress: float | None = None) -> str:
    """Return a run's status as Markdown: colour, icon and words, see `status_words`."""
    return f":{STATUS_COLOURS[status]}-badge[{STATUS_ICONS[status]} {status_words(status, progress)}]"
