"""The table of measures along a run: which groups fit, what they share, and what is kept."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
