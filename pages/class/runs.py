"""Runs: the list of all runs, and what can be done with each."""

from minigpt.app.runs import page

page.draw()
