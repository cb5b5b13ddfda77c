"""Sampling: several rules on the same dice, where they part, and how each token was chosen."""

from minigpt.app.sampling import page

page.draw()
