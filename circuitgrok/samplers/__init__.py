"""Sampling near a point: samplers as pairs (init, step) over a stack of chains, and the one loop that runs them."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
