"""One frozen config is one run: its sections, its ceilings, and presets."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
