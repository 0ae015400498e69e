"""Waves: Fourier transforms, key frequencies, waves of a + b, how neurons are tuned, how sparse it is."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
