"""Scripts for developers: the checks, and what makes the results in `assets/`; not in the wheel."""
