"""Measures: pure functions from weights to numbers, in rooms by what they look at; `table` joins them for a run."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
