"""What a network does when it is changed: edits of weights and of parts, and one-line verbs for them."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
