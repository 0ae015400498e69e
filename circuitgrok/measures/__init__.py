"""Measures: pure functions from weights to numbers, in rooms by what they look at; `table` joins them for a run.

What all of them mean: `[pair ...]` are all p^2 pairs of numbers in the order a * p + b, at the last position, where
the answer is read; a split is taken afterwards. `[c]` are the p numbers as classes, without '='. `[neuron]` are those
of the last block (of an MLP, of its last hidden layer) after the nonlinearity. A stack of networks has axes in front.
"""

from circuitgrok.rooms import doors

__getattr__, __dir__ = doors(__name__)
