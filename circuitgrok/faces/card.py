"""A network of a run as a folder for the Hugging Face hub: weights, config, and a card with its figure."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from circuitgrok.canonical import canonical_json
from circuitgrok.faces.summary import SUMMARISED, summary_lines
from circuitgrok.foreign.exported import description, write_weights
from circuitgrok.foreign.sources import NOTE
from circuitgrok.store.checkpoints import Checkpoints, config_of, name_of
from circuitgrok.store.files import write_atomically
from circuitgrok.table.measure import measure
from circuitgrok.table.needs import fitting
from circuitgrok.version import __version__

if TYPE_CHECKING:
    from circuitgrok.config.train_config import TrainConfig

CARD = """---
library_name: circuitgrok
tags:
- grokking
- mechanistic-interpretability
- modular-arithmetic
---

# {name}, step {step}

A network of `{kind}` kind on {formula}, trained on {share:.0%} of all examples; written by circuitgrok {version}.

![losses, accuracies, polar path and spectrum](figure.png)

```
{summary}
```

The weights in `model.safetensors` have the names of TransformerLens; `config.json` holds everything that decided the
bits of the run. To open it:

```python
import circuitgrok as cg

found = cg.open_checkpoints("{folder}")
table = cg.measure(found)
```
{lens}"""
LENS = """
As a TransformerLens bridge, with every hook:

```python
bridge = cg.lens.to_bridge(found.at({step}), found.model)
```
"""


def write_folder(run: Checkpoints, step: int, folder: Path) -> list[Path]:
    """Write `config.json`, `model.safetensors`, `README.md` and `figure.png`; what is there is replaced.

    Args:
        run: A run, or other checkpoints; the figure and the card are of the whole course.
        step: Of the network.
        folder: Where to.

    Returns:
        The files.

    Raises:
        RunError: No checkpoint at that step.
    """
    from circuitgrok.figures import run_figure, save

    config = config_of(run)
    run.at(step)  # complains where there is none, before a folder is made
    table = measure(run, fitting(SUMMARISED, config))
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": canonical_json(settings_of(run, step)),
        "README.md": card(run, step, folder.name, summary_lines(run, table), config),
    }
    for name, text in files.items():
        write_atomically(folder / name, f"{text}\n".encode())
    written = [*(folder / name for name in files), write_weights(run, step, folder / "model.safetensors")]
    return [*written, *save(run_figure(run, table), folder / "figure")]


def settings_of(run: Checkpoints, step: int) -> dict[str, Any]:
    """What `config.json` of an exported network says."""
    return {"architectures": [run.model.kind], "model_type": "circuitgrok", NOTE: description(run, step)}


def card(run: Checkpoints, step: int, folder: str, summary: list[str], config: "TrainConfig") -> str:
    """The model card: what the network is, what it does, and how to open it."""
    return CARD.format(
        name=name_of(run),
        step=step,
        kind=config.model.kind,
        formula=config.task.formula,
        share=config.task.n_train / config.task.n_pairs,
        version=__version__,
        summary="\n".join(summary).replace(f" in {getattr(run, 'path', None)}\n", "\n"),  # nobody else's folder
        folder=folder,
        lens=LENS.format(step=step) if config.model.has_heads else "",
    ).rstrip()
