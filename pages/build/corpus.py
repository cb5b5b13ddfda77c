"""Corpus: bring a text, see what it is made of, and whether it is good enough."""

from minigpt.app.corpus import page

page.draw()
