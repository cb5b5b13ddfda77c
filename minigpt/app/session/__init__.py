"""State of one visitor: the current run, own runs, the chosen text, loaded models, and the compute gate."""
