"""Landscapes and networks that are known in closed form, which samplers and measures are judged by."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
