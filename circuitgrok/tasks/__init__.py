"""What a network is asked: all inputs, their labels, and which of them it may train on."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
