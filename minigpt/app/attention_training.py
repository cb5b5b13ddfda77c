"""Two tiny trainings, with and without the mask."""


def draw_training() -> None:
    """Draw the shipped result."""
