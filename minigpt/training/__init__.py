"""Learning the weights, in bounded pieces of work."""
