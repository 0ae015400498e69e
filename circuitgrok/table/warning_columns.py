"""What may warn of a network's generalising, at one checkpoint and from what is known by then.

Losses are those of the training pairs, but for `test_loss`, which is there for comparison: whatever warns has to do it
without the answers. Key frequencies are those that the rule finds *at the checkpoint*: a set that is found at the end
has seen the end.
"""

import math

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.interventions.losses import cross_entropy
from circuitgrok.measures.circuits.restricted import excluded_losses, logit_circuit, restricted_losses, together
from circuitgrok.measures.spectra.fourier import fourier_gini
from circuitgrok.measures.spectra.sum_waves import rivals
from circuitgrok.store.checkpoints import Checkpoints, config_of
from circuitgrok.table.checkpoints import checkpoints_of, key_frequencies
from circuitgrok.table.needs import Rule
from circuitgrok.tree import norm


def warning_columns(run: Checkpoints, step: int, *, rule: Rule = "wl_energy") -> dict[str, float]:
    """Losses, norm, circuit and sparsity of one checkpoint of a run on numbers modulo p.

    Args:
        run: An opened run.
        step: The checkpoint.
        rule: Finds the key frequencies, at this checkpoint.

    Returns:
        `train_loss`, `test_loss`, `norm`, `restricted_loss` and `excluded_loss` (of the training pairs; nan without a
        key frequency), `gini[W_E]`, `gini[W_L]` and `n_keys`.

    Raises:
        RunError: There is no such checkpoint.

    Example:
        >>> import circuitgrok as cg
        >>> found = warning_columns(cg.reference(), 4000)
        >>> found["n_keys"], round(found["norm"], 1), found["excluded_loss"] > found["restricted_loss"]
        (3, 20.7, True)
    """
    config: TrainConfig = config_of(run)
    params = run.at(step)
    keys = key_frequencies(rule, params, run.model, run.task)
    at = checkpoints_of(config, {name: value[None] for name, value in params.items()}, keys)
    train, test = at.where("train"), at.where("test")
    by_pair = cross_entropy(at.logits, at.labels)[0]
    restricted = excluded = math.nan
    if len(keys):
        circuit = together(logit_circuit(at.logits, keys))
        restricted = restricted_losses(circuit, at.labels)[0, 0, train].mean().item()
        excluded = excluded_losses(circuit, rivals(at.logits, at.labels))[0, 0, train].mean().item()
    trained = {name: value for name, value in params.items() if run.model.is_trainable(name)}
    return {
        "train_loss": by_pair[train].mean().item(),
        "test_loss": by_pair[test].mean().item(),
        "norm": norm(trained).item(),
        "restricted_loss": restricted,
        "excluded_loss": excluded,
        "gini[W_E]": fourier_gini(at.W_E)[0].item(),
        "gini[W_L]": fourier_gini(at.W_L.mT)[0].item(),
        "n_keys": len(keys),
    }
