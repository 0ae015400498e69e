"""What a researcher varies: losses and constraints, each a small object that acts on a stack of runs."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
