"""Teacher and student: the answers of one random tanh network, for another to learn from few of them.

The teacher's weights and biases are those that PyTorch gives its linear layers, U(-1, 1) / sqrt(number of inputs), all
times `teacher_alpha`. A teacher of large weights bends more, and it takes a student of large norm to copy it: where
the teacher's alpha goes up, so should the norm at which students generalise.

This is a regression. An example counts as right if its squared error, in the mean over outputs, is below `tolerance`.
That is absolute, and the labels of a small teacher are small: at `teacher_alpha` 0.5 the answer 0 is right for many
examples before anything is learned. Where teachers are compared, take `tolerance` in proportion to the square of
`label_scale`.

Source: Liu, Michaud, Tegmark 2022 (arXiv:2210.01117), section 2, and the authors' code, where the teacher has alpha 1,
there are 100 examples on each side and the tolerance is 0.001.
"""

import math
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import BaseModel, Field
from torch import Tensor

from circuitgrok.tasks.examples import Examples, joined

Layer = tuple[Tensor, Tensor]  # weights [out in] and biases [out]


class TeacherStudent(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """The answers of a random network to standard normal inputs, in a config: `draw()` draws them."""

    kind: Literal["teacher_student"] = "teacher_student"
    n_in: int = Field(default=5, ge=1, le=2**20, description="number of inputs of teacher and student")
    teacher_width: int = Field(default=100, ge=1, le=2**20, description="neurons of each hidden layer of the teacher")
    teacher_depth: int = Field(default=2, ge=1, le=1000, description="hidden layers of the teacher")
    n_out: int = Field(default=5, ge=1, le=2**20, description="number of outputs of teacher and student")
    teacher_alpha: float = Field(default=1.0, gt=0, description="multiplier of all the teacher's weights and biases")
    n_train: int = Field(default=100, ge=1, description="number of training examples")
    n_test: int = Field(default=100, ge=1, description="number of test examples")
    data_seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the inputs")
    teacher_seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the teacher's weights")
    tolerance: float = Field(default=1e-3, gt=0, description="mean squared error below which an answer is right")

    @property
    def p(self) -> None:
        """None: inputs are features."""
        return None

    @property
    def n_classes(self) -> int:
        """Number of outputs, one for each value of a label."""
        return self.n_out

    @property
    def n_features(self) -> int:
        """Number of features of an input."""
        return self.n_in

    @property
    def n_pairs(self) -> int:
        """Number of all examples."""
        return self.n_train + self.n_test

    @property
    def formula(self) -> str:
        """The task in a line, for titles and tables.

        >>> TeacherStudent(teacher_alpha=2).formula
        'answers of a tanh net 5-100-100-5, default init times 2'
        """
        sizes = "-".join(map(str, _sizes(self)))
        return f"answers of a tanh net {sizes}, default init times {self.teacher_alpha:g}"

    @property
    def label_scale(self) -> float:
        """Root mean square of the labels: the error, in the root mean square, of who always answers 0.

        >>> [round(TeacherStudent(teacher_alpha=alpha).label_scale, 2) for alpha in (0.5, 1, 2, 4)]
        [0.04, 0.18, 0.73, 2.07]
        """
        return self.draw().labels.square().mean().sqrt().item()

    def draw(self) -> Examples:
        """All examples, drawn once and kept.

        Example:
            >>> task = TeacherStudent(n_train=10).draw()
            >>> task.inputs.shape, task.labels.shape, task.labels.dtype, task.n_train
            (torch.Size([110, 5]), torch.Size([110, 5]), torch.float64, 10)
        """
        return _drawn(self)


def teacher(config: TeacherStudent) -> list[Layer]:
    """The teacher's layers from the first to the last, drawn in the order in which PyTorch draws them."""
    generator, layers = torch.Generator().manual_seed(config.teacher_seed), []
    sizes = _sizes(config)
    for n_in, n_out in zip(sizes, sizes[1:], strict=False):
        bound = 1 / math.sqrt(n_in)
        shapes = ((n_out, n_in), (n_out,))
        W, b = (torch.empty(s, dtype=torch.float64).uniform_(-bound, bound, generator=generator) for s in shapes)
        layers.append((config.teacher_alpha * W, config.teacher_alpha * b))
    return layers


def answers(layers: list[Layer], inputs: Float[Tensor, "pair n_in"]) -> Float[Tensor, "pair n_out"]:
    """What the network of these layers answers: tanh after each but the last."""
    *hidden, (W_last, b_last) = layers
    for W, b in hidden:
        inputs = torch.tanh(inputs @ W.T + b)
    return inputs @ W_last.T + b_last


def _sizes(config: TeacherStudent) -> list[int]:
    return [config.n_in, *[config.teacher_width] * config.teacher_depth, config.n_out]


@lru_cache(maxsize=64)
def _drawn(config: TeacherStudent) -> Examples:
    generator = torch.Generator().manual_seed(config.data_seed)
    # Row by row: torch.randn of more numbers need not begin with those of fewer.
    rows = [torch.randn(config.n_in, generator=generator, dtype=torch.float64) for _ in range(config.n_pairs)]
    inputs, n_test = torch.stack(rows), config.n_test
    labels = answers(teacher(config), inputs)
    return joined((inputs[n_test:], labels[n_test:]), (inputs[:n_test], labels[:n_test]))
