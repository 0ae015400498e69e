"""The loop: a stack of runs, one step, what a config asks of it, progress."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
