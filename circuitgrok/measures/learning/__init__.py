"""What happens along training: memorization, phases, sustained crossings, slingshots, probes."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
