"""Parts of a network: neurons, heads, last layers, clock and pizza, irreducible representations."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
