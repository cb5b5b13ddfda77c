"""See the title."""

from minigpt.app import anatomy

anatomy.header("runs")
