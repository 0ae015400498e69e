"""Norm and direction: paths, updates and networks in polar coordinates, and what a norm does not say."""
