"""Model: the network of the next run, part by part, and what it costs."""

from minigpt.app.model import page

page.draw()
