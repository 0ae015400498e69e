"""Sampling near a point: samplers as pairs (init, step) over a stack of chains, and the one loop that runs them."""
