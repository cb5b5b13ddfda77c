"""Sampling: several rules with the same random numbers, where their texts differ, and how each token was chosen."""

from minigpt.app.sampling import page

page.draw()
