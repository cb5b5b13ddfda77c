"""Train: start a run, watch it learn, pause or stop it."""

from minigpt.app.train import page

page.draw()
