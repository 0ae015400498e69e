"""What `circuitgrok COMMAND` does; heavy libraries are imported by the command that needs them."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
