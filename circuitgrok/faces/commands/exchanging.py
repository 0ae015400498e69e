"""Commands that bring networks in and take them out: import, export."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

from circuitgrok.errors import UserError
from circuitgrok.faces.fields import config_leaves, kinds_of
from circuitgrok.faces.flags import REQUIRED, parse, positional
from circuitgrok.store.run import load
from circuitgrok.text import show
from circuitgrok.training.progress import load_torch

if TYPE_CHECKING:
    from circuitgrok.foreign.published import Published

UNSAID = ("p", "n_heads", "act", "operation", "frac_train", "data_seed", "split")  # what a file may leave out


def import_published(argv: list[str]) -> int:
    """Bring in networks of other hands as a run."""
    import tyro

    layouts = Literal["nanda", "pizza", "pizza-mlp", "hooked-transformer", "bridge", "mlp", "named"]
    leaves = config_leaves("nanda", kinds_of("nanda"))
    unsaid = {name: leaves[name] for name in UNSAID}
    options = parse(
        "circuitgrok import",
        "Bring in networks of other hands as a run, with their task and split. The networks are run here, and their "
        "losses printed beside those that the file claims. The last flags say what a file does not.",
        {
            "source": (
                Annotated[tuple[str, ...], positional()],
                REQUIRED,
                "a file (.pth, .pt, .ckpt, .bin, .safetensors), several, a folder, or a pattern; none is unpickled",
            ),
            "layout": (Annotated[Optional[layouts], tyro.conf.arg(name="as")], None, "layout; by default as found"),  # noqa: UP045
            "map": (str, "", "JSON file {theirs: ours} of tensor names; suggested and printed by default"),
            "steps": (
                Annotated[tuple[int, ...], tyro.conf.arg(aliases=["--step"])],
                (),
                "updates behind each network, where nothing says; else which to bring in",
            ),
            "train_pairs": (str, "", "JSON file of the training pairs: places, a mask, or pairs [a, b]"),
            "config": (str, "", "JSON file of the published settings; pizza: config_ID.json beside model_ID.pt"),
            "out": (str, "checkpoints", "folder that gets the run's folder"),
            "name": (str, "", "name of the run's folder; the source's by default"),
            **{name: (Optional[leaf.annotation], None, leaf.help) for name, leaf in unsaid.items()},  # noqa: UP045
        },
        argv,
    )
    if not options.source:
        raise UserError("name what to import: `circuitgrok import FILE_OR_FOLDER`")
    load_torch(quiet=False)
    from circuitgrok.foreign.imported import report, write_run
    from circuitgrok.foreign.opening import read_settings
    from circuitgrok.foreign.reading import read_published
    from circuitgrok.foreign.sources import read_mapping

    given = {name: getattr(options, name) for name in unsaid if getattr(options, name) is not None}
    config, out, keys, pairs = map(os.path.expanduser, (options.config, options.out, options.map, options.train_pairs))
    published = read_published(
        options.source[0] if len(options.source) == 1 else options.source,
        options.layout,
        config or None,
        keys=read_mapping(Path(keys)) if keys else None,
        split=read_settings(Path(pairs)) if pairs else given.pop("split", None),
        steps=options.steps or None,
        **given,
    )
    one = write_run(published, Path(out) / (options.name or Path(published.name).stem))
    show(*report(published), *_spectrum(published))
    show(f"{one.path} is {one.state}; `circuitgrok measure {one.path}` measures it")
    return 0


def _spectrum(published: "Published") -> list[str]:
    """The key frequencies of the last network, or that it has no sparse spectrum; of tasks that have frequencies."""
    from circuitgrok.measures.circuits.unseen import NO_SPARSE_SPECTRUM, is_sparse
    from circuitgrok.table.checkpoints import key_frequencies
    from circuitgrok.table.needs import why_not
    from circuitgrok.tasks.kinds import modular
    from circuitgrok.tasks.operations import as_addition

    if why_not("circuits", published.config) is not None:
        return []
    last, m = published.at(published.steps[-1]), as_addition(modular(published.task)).m
    found = key_frequencies("wl_energy", last, published.model, published.task)
    freqs = ", ".join(map(str, found.tolist())) or "none"
    if is_sparse(found, m) and len(found):
        return [f"  key freqs    {freqs}   (rule wl_energy)"]
    return [f"  NOTE         {NO_SPARSE_SPECTRUM}: {len(found)} of {m // 2} frequencies are key by rule wl_energy"]


def export(argv: list[str]) -> int:
    """Write a network of a run for other libraries."""
    import tyro

    forms = Literal["tl", "safetensors", "huggingface"]
    options = parse(
        "circuitgrok export",
        "Write the network of a step for other libraries: as TransformerLens' state dict (tl), as safetensors under "
        "the same names, or as a folder for the Hugging Face hub with a model card and a figure.",
        {
            "run": (Annotated[str, positional()], REQUIRED, "the run's folder"),
            "step": (Optional[int], None, "which checkpoint; the last by default"),  # noqa: UP045
            "form": (Annotated[forms, tyro.conf.arg(name="as")], "safetensors", "what is written"),
            "out": (str, "", "file, or folder of huggingface; made from the run's name and the step by default"),
        },
        argv,
    )
    one = load(os.path.expanduser(options.run))
    load_torch(quiet=False)
    step = one.saved_steps()[-1] if options.step is None else options.step
    out = Path(os.path.expanduser(options.out or f"{one.name}-{step}{SUFFIXES[options.form]}"))
    ends = SUFFIXES[options.form]
    if ends and out.suffix not in (ends, ".pt" if options.form == "tl" else ends):
        raise UserError(f"--out of --as {options.form} must end with {ends}; got {out.name!r}")
    show(*(f"{path} written" for path in _written(one, step, options.form, out)))
    return 0


SUFFIXES = {"tl": ".pth", "safetensors": ".safetensors", "huggingface": ""}


def _written(one: Any, step: int, form: str, out: Path) -> list[Path]:
    from circuitgrok.foreign.exported import save_hooked, write_weights

    if form == "tl":
        return [save_hooked(one, step, out)]
    if form == "safetensors":
        return [write_weights(one, step, out)]
    from circuitgrok.faces.card import write_folder

    return write_folder(one, step, out)
