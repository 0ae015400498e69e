"""What a person meets: the command line, summaries, the doctor."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
