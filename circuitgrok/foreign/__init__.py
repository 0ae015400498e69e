"""Networks from elsewhere: TransformerLens (`lens` is its only door), published files, and what they claim."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
