"""Scripts that make the results which ship with minigpt, in `assets/`; not part of the wheel."""
