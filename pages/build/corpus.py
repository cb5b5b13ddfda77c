"""Corpus: choose a text, see its statistics, and whether it is good enough to learn from."""

from minigpt.app.corpus import page

page.draw()
