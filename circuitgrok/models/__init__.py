"""Architectures as pure functions of `Params`; each config has `init`, `logits` and `activations`."""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
