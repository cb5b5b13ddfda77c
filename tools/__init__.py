"""Scripts for those who work on minigpt: what checks it, and what makes the results in `assets/`; not in the wheel."""
