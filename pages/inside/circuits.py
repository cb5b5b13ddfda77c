"""Circuits: what each part of the model does, and what breaks without it."""

from minigpt.app.circuits import page

page.draw()
