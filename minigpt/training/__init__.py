"""Training: from a model and a text to learned weights, in bounded pieces of work.

Read `losses`, `schedules` and `optimizers` first, then `trainer`, which joins them. `callbacks` does everything besides
updates, and `checkpoint` saves one moment of a training to disk.
"""
