"""Learning the weights, in bounded pieces of work.

Read `losses`, `schedules` and `optimizers` first, then `trainer`, which joins them; `callbacks` is what happens beside
the updates, `checkpoint` how one moment of a training is kept.
"""
