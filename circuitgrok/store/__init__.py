"""A run on disk: files that are whole or not there, sealed records, weights, locks, resume points."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
