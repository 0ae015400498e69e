"""Norm and direction: paths, updates and networks in polar coordinates, and what a norm does not say."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
