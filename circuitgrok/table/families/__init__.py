"""What each column of a table is, in records: of weights, of circuits, of parts of a network, of the loss around it."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
