"""Conformance kits: what a measure, a penalty, a gradient transform, a sampler or a model of your own must do."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
