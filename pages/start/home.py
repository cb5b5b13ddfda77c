"""Home: what this is, one button to start, and the way from text to next character."""

from minigpt.app.home import page

page.draw()
