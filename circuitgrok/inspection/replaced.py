"""The forward pass of every kind of network with parts replaced, at the last position, for all pairs.

One replacement gives what `measures.circuits.ablations` gives, or restricted and excluded logits. Of several, what
stands earlier in the network is replaced first, and what is behind it runs on what is there then: the mean of a neuron
is that in the network without its head. In earlier blocks a part is replaced at every position. In the browser
faces/web/kernel/forward.js is the same.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitgrok.apart import ACTIVATIONS, PLAIN
from circuitgrok.errors import UserError
from circuitgrok.inspection.available import kinds_of_parts, layers_of, why_not
from circuitgrok.inspection.edits import Ablate
from circuitgrok.inspection.part_names import FILLS, Part, parse
from circuitgrok.measures.circuits import ablations
from circuitgrok.measures.parts.neurons import in_cluster, polynomial_neurons
from circuitgrok.measures.spectra.fourier import sum_table
from circuitgrok.measures.spectra.sum_waves import wave_tables
from circuitgrok.measures.spectra.tuning import neuron_frequencies
from circuitgrok.models.forward import Block, embedded, layer_norm
from circuitgrok.models.fused import Rows, weighted_values
from circuitgrok.models.kinds import AnyModel
from circuitgrok.models.transformer import Transformer
from circuitgrok.tasks.kinds import Dataset, modular
from circuitgrok.tasks.operations import as_addition
from circuitgrok.tree import Params


class Replacement(NamedTuple):
    """A part and what stands in its place."""

    part: Part
    fill: str

    @property
    def row(self) -> Callable[[Tensor], Tensor]:
        """What stands there, `[1 k]`, from what stood there, `[pair k]`."""
        return ablations.FILLS[self.fill]


class Activations(NamedTuple):
    """What a network holds at the last position, a row for each pair.

    Attributes:
        logits: Of the p numbers, or of all classes where there are no numbers, in float64.
        reads: The neurons of the last block or hidden layer, before the nonlinearity.
        neurons: After it.
        pattern: The last position's attention; None without heads.
    """

    logits: Float[Tensor, "pair c"]
    reads: Float[Tensor, "pair neuron"]
    neurons: Float[Tensor, "pair neuron"]
    pattern: Float[Tensor, "pair pos head"] | None


def replaced(model: AnyModel, params: Params, task: Dataset, edits: Sequence[Ablate] = ()) -> Activations:
    """What a network answers with parts of it replaced; without any, what it answers.

    Args:
        model: The network's shape.
        params: One network.
        task: All its pairs.
        edits: Ablations, in any order.

    Raises:
        UserError: A part is none of this network's; the message lists those that there are.

    Example:
        >>> from circuitgrok.tasks.modular import modular_addition
        >>> model = Transformer(p=5, n_heads=1, d_model=8, d_head=8, d_mlp=16)
        >>> params, task = model.init(torch.Generator().manual_seed(0)), modular_addition(p=5)
        >>> replaced(model, params, task, [Ablate(part="skip"), Ablate(part="mlp")]).logits.abs().max().item()
        0.0
    """
    found = [Replacement(_placed(parse(edit.part), model), str(edit.fill)) for edit in edits]
    for one, edit in zip(found, edits, strict=True):
        if (reason := why_not(one.part, model, task)) is not None:
            raise UserError(f"no {edit.part!r}: {reason}; this network has {', '.join(kinds_of_parts(model, task))}")
    order = list(FILLS)
    found.sort(key=lambda one: order.index(one.part.what))
    with torch.no_grad():
        run = _Transformer if isinstance(model, Transformer) else _MLP
        return run(model, params, task, found).activations()


def _placed(part: Part, model: AnyModel) -> Part:
    """The part with its layer: the last, where none is named."""
    return part if part.layer is not None else part._replace(layer=layers_of(model) - 1)


class _Network:
    """What the kinds of networks share: neurons and sum waves replaced."""

    def __init__(self, model: AnyModel, params: Params, task: Dataset, replacements: list[Replacement]) -> None:
        self.model, self.params, self.task, self.replacements = model, params, task, replacements
        self.last = layers_of(model) - 1

    def of(self, *whats: str, layer: int | None = None) -> list[Replacement]:
        layer = self.last if layer is None else layer
        return [one for one in self.replacements if one.part.what in whats and one.part.layer == layer]

    def neurons(self, post: Tensor, layer: int) -> Tensor:
        """Neurons with some replaced."""
        for one in self.of("neuron", "cluster", "no cluster", layer=layer):
            where = self._where(one.part, post)
            if one.fill == "polynomial":
                post = self._polynomial(post, where)
            else:
                post = torch.where(where, one.row(post), post)
        return post

    def _where(self, part: Part, post: Tensor) -> Bool[Tensor, " neuron"]:
        numbers = torch.tensor(part.numbers, device=post.device)
        if part.what == "neuron":
            return torch.isin(torch.arange(post.shape[1], device=post.device), numbers)
        tuned = neuron_frequencies(post[self._pairs])
        inside = in_cluster(tuned) & torch.isin(tuned.freq, numbers)
        return inside if part.what == "cluster" else ~inside

    def _polynomial(self, post: Tensor, where: Tensor) -> Tensor:
        """The neurons of a set as polynomials in the waves of the frequency that each is tuned to."""
        pairs, mine = self._pairs, where.nonzero().flatten()
        grid = post[pairs][:, mine]
        post = post.clone()
        post[pairs[:, None], mine] = polynomial_neurons(grid, neuron_frequencies(grid).freq).to(post.dtype)
        return post

    def waves(self, written: Tensor, out: str, alone: str) -> Tensor:
        """What is given by pair, its sum waves taken out or left alone."""
        for one in self.of(out, alone):
            waves = self._sum_waves(written, one.part.numbers)
            written = written - waves if one.part.what == out else waves + one.row(written)
        return written

    def _sum_waves(self, written: Tensor, freqs: tuple[int, ...]) -> Tensor:
        tables = wave_tables(sum_table(written[self._pairs]), torch.tensor(freqs, device=written.device))
        return tables.sum(-3)[self._sums].to(written.dtype)

    @property
    def _pairs(self) -> Int[Tensor, " pair"]:
        return as_addition(modular(self.task)).pairs

    @property
    def _sums(self) -> Int[Tensor, " pair"]:
        """Of each of the task's pairs its sum in the addition that hides in the task."""
        pairs, m = self._pairs, as_addition(modular(self.task)).m
        residue = torch.arange(m, device=pairs.device)
        return torch.empty_like(pairs).index_copy(0, pairs, ((residue[:, None] + residue) % m).flatten())

    def logits(self, logits: Tensor) -> Float[Tensor, "pair c"]:
        """In float64, their sum waves taken out or left alone."""
        return self.waves(logits.double(), "excluded", "restricted")


class _Transformer(_Network):
    model: Transformer

    def activations(self) -> Activations:
        model, params = self.model, self.params
        streams = embedded(model, params, self.task.inputs)
        for layer in range(self.last):
            block = self._block(layer)
            keys = [block.keys_values(stream) for stream in streams]
            seen = [keys[: i + 1] if model.causal else keys for i in range(len(streams))]
            streams = [self._after(block, stream, of, layer) for stream, of in zip(streams, seen, strict=True)]
        block, before = self._block(self.last), streams[-1].spread()
        out, pattern = self._attention(block, streams[-1], [block.keys_values(s) for s in streams], self.last)
        mid = before + out
        reads = block.norm(mid, "ln2") @ block["mlp.W_in"] + block["mlp.b_in"]
        neurons = self.neurons(ACTIVATIONS[model.act](reads), self.last)
        W_U, b_U = params["unembed.W_U"][:, : model.p], params["unembed.b_U"][: model.p].double()
        through: Callable[[Tensor], Tensor] = lambda x: x @ W_U  # noqa: E731
        if not model.reads_linearly:
            through = lambda x: x  # noqa: E731
        written = neurons @ through(block["mlp.W_out"]) + through(block["mlp.b_out"])
        written, skip = self.waves(written, "waves", "only waves"), through(mid)
        for one in self.of("layer"):
            written, skip = one.row(through(out) + written), through(before)
        for one in self.of("mlp"):
            written = one.row(written.expand(len(mid), -1))
        for one in self.of("skip"):
            skip = one.row(skip.expand(len(mid), -1))
        read = (written + skip).expand(len(mid), -1)
        if not model.reads_linearly:
            read = layer_norm(read, params["ln_final.w"], params["ln_final.b"]) @ W_U
        return Activations(self.logits(read + b_U), reads, neurons, pattern)

    def _block(self, layer: int) -> Block:
        return Block(self.model, self.params, layer, PLAIN)

    def _attention(
        self, block: Block, stream: Rows, keys: list[tuple[Rows, Rows]], layer: int
    ) -> tuple[Tensor, Tensor]:
        """What a position's attention writes to its stream, and the attention that it pays, by pair."""
        model, n = self.model, len(self.task.inputs)
        pattern = torch.stack(block.attention(stream, keys), dim=1).expand(n, -1, -1)
        for one in self.of("pattern", layer=layer):
            mean = pattern.mean(0, keepdim=True)
            pattern = (mean if one.fill == "mean" else mean.mean(1, keepdim=True)).expand_as(pattern)
        z = weighted_values(pattern.unbind(1), [value for _, value in keys]).unflatten(-1, (model.n_heads, -1))
        for one in self.of("head", layer=layer):
            z = z.clone()
            z[:, one.part.numbers[0]] = one.row(z[:, one.part.numbers[0]])
        out = block.through_O(z.flatten(1))
        for one in self.of("attention", layer=layer):
            out = one.row(out).expand_as(out)
        return out, pattern

    def _after(self, block: Block, stream: Rows, keys: list[tuple[Rows, Rows]], layer: int) -> Rows:
        """A position's stream after an earlier block; one that sees itself alone may stay a table."""
        if not any(one.part.layer == layer for one in self.replacements):
            return block.after_attention(stream, keys)
        out, _ = self._attention(block, stream, keys, layer)
        before = stream.spread()
        mid = before + out
        written = self.neurons(block.neurons(mid), layer) @ block["mlp.W_out"] + block["mlp.b_out"]
        for one in self.of("mlp", layer=layer):
            written = one.row(written).expand_as(written)
        for one in self.of("layer", layer=layer):
            return Rows(before + one.row(out + written).expand_as(mid), None)
        return Rows(mid + written, None)


class _MLP(_Network):
    def activations(self) -> Activations:
        model, params = self.model, self.params
        shallow = model.model_copy(update={"depth": 1}) if self.last else model
        reads, neurons = shallow.last_hidden(params, self.task.inputs)  # pyright: ignore
        neurons = self.neurons(neurons, 0)
        for layer in range(1, self.last + 1):
            reads = neurons @ params[f"blocks.{layer}.mlp.W_in"] + params[f"blocks.{layer}.mlp.b_in"]
            neurons = self.neurons(ACTIVATIONS[model.act](reads), layer)  # pyright: ignore
        written = self.waves(neurons @ params["unembed.W_U"], "waves", "only waves")
        bias = params.get("unembed.b_U", torch.zeros((), dtype=written.dtype)).double()
        return Activations(self.logits(written + bias), reads, neurons, None)
