"""Train: start a run, watch it learn, pause it, stop it."""

from minigpt.app.train import page

page.draw()
