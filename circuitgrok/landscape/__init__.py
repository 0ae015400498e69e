"""The loss around a point: curvature, sampled volume, learning coefficients; `flat` makes losses of vectors."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
