"""What one visitor has: the current run, own runs, the text looked at, loaded models, and the compute gate."""
