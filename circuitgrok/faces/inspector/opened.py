"""What a page shows of a run's networks and no column of its table holds: spectra, and every neuron by itself.

    spectrum neurons             share of the neurons' variance in each frequency's block, [ckpt freq]
    spectrum logits              energy of the logits along the two sum waves of each frequency, [ckpt freq]
    neuron freq, neuron purity   what each neuron is tuned to, [ckpt neuron]
    neuron u, v, out             phases of what it reads of a and of b, and of what it writes, [ckpt neuron]

The formulas are those of `measures`; shares of 0..1 and phases are held in 16 bits, to within 2e-5 and 1e-4 (radians).
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from circuitgrok.measures.parts.neurons import neuron_phases
from circuitgrok.measures.spectra.fourier import logit_spectrum
from circuitgrok.measures.spectra.tuning import frequencies_of, shares_of
from circuitgrok.store.checkpoints import config_of
from circuitgrok.surroundings import in_plain_surroundings
from circuitgrok.table.checkpoints import checkpoints_of

if TYPE_CHECKING:
    from circuitgrok.config.train_config import TrainConfig
    from circuitgrok.store.run import Run
    from circuitgrok.tree import Params

Arrays = dict[str, np.ndarray]
_NUMBERS = 2**23  # neuron activations of the checkpoints that are opened together


@in_plain_surroundings
def opened(run: "Run", steps: Sequence[int], key_freqs: Sequence[int]) -> Arrays:
    """Spectra and neurons of a run on numbers modulo p, by checkpoint.

    Args:
        run: A run whose task has numbers modulo p.
        steps: Checkpoints.
        key_freqs: The run's key frequencies.

    Example:
        >>> import circuitgrok as cg
        >>> found = opened(cg.load("checkpoints/reference"), [0, 4000], [5, 6, 9])
        >>> found["neuron freq"].shape, sorted(set(found["neuron freq"][1].tolist()) - {0})[:3]
        ((2, 256), [4, 5, 6])
    """
    config, freqs = config_of(run), torch.tensor(key_freqs, dtype=torch.long)
    size = max(1, _NUMBERS // (len(run.task.inputs) * config.model.activations_per_input))
    parts: list[Arrays] = []
    for i in range(0, len(steps), size):
        parts.append(_opened(config, run.stack(steps[i : i + size]), freqs))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _opened(config: "TrainConfig", stack: "Params", key_freqs: Tensor) -> Arrays:
    at = checkpoints_of(config, stack, key_freqs)
    tuned = [frequencies_of(spectrum) for spectrum in at.spectra]
    freq = torch.stack([one.freq for one in tuned])
    shares = [sum(shares_of(spectrum)) for spectrum in at.spectra]
    phases = neuron_phases(at.reads, at.W_L, freq)
    return {
        "spectrum neurons": _floats(torch.stack([torch.as_tensor(share) for share in shares])),
        "spectrum logits": _floats(logit_spectrum(at.logits)),
        "neuron freq": freq.to(torch.int32).numpy().astype(np.uint16),
        "neuron purity": _in_16_bits(torch.stack([one.purity for one in tuned]), 1.0, np.uint16),
        **{f"neuron {name}": _in_16_bits(value, math.pi, np.int16) for name, value in phases._asdict().items()},
    }


def _floats(values: Tensor) -> np.ndarray:
    return values.numpy().astype(np.float32)


def _in_16_bits(values: Tensor, largest: float, kind: type[np.integer]) -> np.ndarray:
    """Values up to `largest` as whole numbers; nan, of neurons that do not vary, as 0."""
    top = np.iinfo(kind).max
    return np.nan_to_num(np.round(values.numpy() / largest * top)).astype(kind)
