"""The circuit of key frequencies: alone, taken out, beside controls, and with its parts ablated."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
