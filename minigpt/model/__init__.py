"""The transformer, one concept a file; read norms, positions, attention, feedforward, block, transformer."""
