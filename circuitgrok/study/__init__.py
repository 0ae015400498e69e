"""Grids of runs, and verdicts on claims."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
