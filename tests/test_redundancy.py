"""Redundant neurons, counted where they have been planted."""

import math

import pytest
import torch
from oracles import noise

from circuitgrok.measures.parts.redundancy import effective_neurons, silent_neurons, twin_neurons


def test_planted_twins_are_found_whatever_their_size_and_random_neurons_have_none():
    reads = noise(3, 40, 64)
    assert not twin_neurons(reads).any()
    reads[1, :, 5] = 7 * reads[1, :, 60] + 0.01 * noise(40)
    found = twin_neurons(reads)
    assert found[1].nonzero().flatten().tolist() == [5, 60] and not found[[0, 2]].any()
    assert not twin_neurons(-reads[1, :, [5, 60]] * torch.tensor([1.0, -1.0])).any()  # opposite is not the same


def test_cosine_is_the_bound_and_a_neuron_of_zeros_is_no_twin():
    angle = math.acos(0.9)
    reads = torch.tensor([[1.0, math.cos(angle), 0.0, 0.0], [0.0, math.sin(angle), 0.0, 0.0]])
    assert twin_neurons(reads, cosine=0.89).tolist() == [True, True, False, False]
    assert not twin_neurons(reads, cosine=0.91).any()


def test_silent_neurons_are_those_that_no_pair_wakes():
    post = noise(2, 9, 5).relu()
    post[0, :, 3] = 0
    assert silent_neurons(post).nonzero().tolist() == [[0, 3]]


def test_effective_neurons_count_what_rescaling_leaves():
    reads, writes = noise(4, 6), noise(6, 3)
    beta = noise(6).abs() + 0.1
    plain, rescaled = effective_neurons(reads, writes), effective_neurons(reads * beta, writes / beta[:, None])
    assert plain.item() == pytest.approx(rescaled.item(), rel=1e-6)
    assert effective_neurons(torch.ones(4, 6), torch.ones(6, 3)).item() == pytest.approx(6)
