"""Spectra and neurons of a page: those of the measures, checkpoint by checkpoint, to what 16 bits hold."""

import math

import numpy as np
import torch
from tiny import tiny

from circuitgrok.faces.inspector.opened import opened
from circuitgrok.measures.parts.last_block import last_block
from circuitgrok.measures.parts.neurons import neuron_phases
from circuitgrok.measures.spectra.fourier import logit_spectrum
from circuitgrok.models.kinds import transformer_of
from circuitgrok.store.run import load
from circuitgrok.training.loop import train


def test_they_are_those_of_each_checkpoint_alone(tmp_path):
    run = load(train([tiny()], tmp_path)[0].path)
    model = transformer_of(run.config.model)
    steps = run.steps[::3]
    found = opened(run, steps, [1, 2])
    for i, step in enumerate(steps):
        params = run.at(step)
        block = last_block(params, model, run.task.inputs)
        freq, purity = block.tuned
        assert np.array_equal(found["neuron freq"][i], freq)
        assert np.abs(found["neuron purity"][i] / 65535 - purity.numpy()).max() <= 0.5 / 65535 + 1e-12
        phases = neuron_phases(block.pre, model.neuron_to_logit(params), freq)
        for name, values in phases._asdict().items():
            apart = found[f"neuron {name}"][i] / 32767 * math.pi - values.nan_to_num().numpy()
            assert np.abs(apart).max() <= 0.5 * math.pi / 32767 + 1e-12
        logits = model.activations(params, run.task.inputs)["logits"][:, -1, : model.p].double()
        assert np.allclose(found["spectrum logits"][i], logit_spectrum(logits), rtol=1e-4, atol=1e-5)
        variance = block.spectrum.variance.sum()
        parts = sum(part.sum(0) for part in block.spectrum[:3])
        assert np.allclose(found["spectrum neurons"][i], torch.as_tensor(parts) / variance, rtol=1e-6, atol=1e-7)
