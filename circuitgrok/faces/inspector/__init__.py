"""The inspector: what a page shows of runs, packed; written as one offline file, or as a widget of a notebook."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
