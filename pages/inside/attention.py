"""Attention: where each head looks, head by head and stage by stage; no head looks ahead."""

from minigpt.app.attention import page

page.draw()
