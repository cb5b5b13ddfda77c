"""Runs: the list, and what can be done with one of them."""

from minigpt.app.runs import page

page.draw()
