"""Images of handwritten digits: those that come with scikit-learn, and MNIST from files that are already there.

Pixels are 0 for the background to 1 for ink and nothing else is done to them, as in Omnigrok: no mean is taken out.
From all images a seeded permutation takes the training set. Nothing is ever downloaded.

The files of MNIST are no part of a config: the same folder may hold others tomorrow. So `split_hash` covers the pixels
and the labels, and a run says which ones it saw.

Source: Liu, Michaud, Tegmark 2022 (arXiv:2210.01117), who take 1000 training images, the first of the files. The digits
of scikit-learn are the test set of Alpaydin and Kaynak 1998, Optical Recognition of Handwritten Digits (UCI).
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import UInt8
from pydantic import BaseModel, Field, model_validator
from torch import Tensor

from circuitgrok.errors import UserError
from circuitgrok.tasks.examples import Examples, joined
from circuitgrok.tasks.idx import read_idx

N_DIGITS = 1797
MNIST_SIDE = 28
MNIST_AT = "https://storage.googleapis.com/cvdf-datasets/mnist/"


class Images(BaseModel, frozen=True, extra="forbid"):
    """What both sets of handwritten digits have in common."""

    n_train: int = Field(default=1000, ge=1, description="number of training examples")

    @property
    def p(self) -> None:
        """None: inputs are features."""
        return None

    @property
    def n_classes(self) -> int:
        """Number of classes: 0..9."""
        return 10


class Digits(Images, frozen=True):
    """The 1797 digits of 8 x 8 pixels in scikit-learn, in a config: `draw()` draws the split.

    Test images are taken from the other end of the permutation: with `n_test` given, the same ones for every `n_train`.
    """

    kind: Literal["digits"] = "digits"
    n_test: int | None = Field(default=None, ge=1, description="number of test examples; none: all others")
    data_seed: int = Field(default=0, ge=0, lt=2**63, description="seed of the permutation of the images")

    @property
    def n_features(self) -> int:
        """Number of pixels."""
        return 64

    @property
    def n_pairs(self) -> int:
        """Number of all examples."""
        return N_DIGITS if self.n_test is None else self.n_train + self.n_test

    @model_validator(mode="after")
    def _images_are_there(self) -> "Digits":
        if self.n_train + (self.n_test or 1) > N_DIGITS:
            raise UserError(
                f"n_train + n_test must be at most {N_DIGITS}, the number of images, with one or more to test on; got "
                f"{self.n_train} + {self.n_test or 0}"
            )
        return self

    @property
    def formula(self) -> str:
        """The task in a line, for titles and tables.

        >>> Digits().formula
        'digits of 8 x 8 pixels'
        """
        return "digits of 8 x 8 pixels"

    def draw(self) -> Examples:
        """All examples, drawn once and kept.

        Example:
            >>> task = Digits(n_train=100).draw()
            >>> task.inputs.shape, task.labels.bincount()
            (torch.Size([1797, 64]), tensor([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]))
        """
        return _drawn_digits(self)


class Mnist(Images, frozen=True):
    """MNIST's digits of 28 x 28 pixels from a folder, in a config: `draw()` reads the files and draws the examples.

    Training images are of the files train-*, test images of t10k-*; both are drawn from `data_seed`.
    """

    kind: Literal["mnist"] = "mnist"
    folder: str = Field(default="mnist", min_length=1, description="folder of the four IDX files, plain or .gz")
    n_test: int = Field(default=2000, ge=1, description="number of test examples")
    data_seed: int = Field(default=0, ge=0, lt=2**63, description="seed that draws them from the files")

    @property
    def n_features(self) -> int:
        """Number of pixels."""
        return MNIST_SIDE**2

    @property
    def n_pairs(self) -> int:
        """Number of all examples."""
        return self.n_train + self.n_test

    @property
    def formula(self) -> str:
        """The task in a line, for titles and tables.

        >>> Mnist().formula
        'MNIST, digits of 28 x 28 pixels'
        """
        return f"MNIST, digits of {MNIST_SIDE} x {MNIST_SIDE} pixels"

    def draw(self) -> Examples:
        """All examples, drawn once and kept.

        Raises:
            UserError: A file is missing, damaged, of another shape, or has fewer images than asked for.
        """
        return _drawn_mnist(self)


@lru_cache(maxsize=16)
def _drawn_digits(config: Digits) -> Examples:
    from sklearn.datasets import load_digits

    pixels, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    order = torch.randperm(N_DIGITS, generator=torch.Generator().manual_seed(config.data_seed))
    train, test = order[: config.n_train], order.flip(0)[: config.n_pairs - config.n_train]
    return joined((pixels[train] / 16, labels[train]), (pixels[test] / 16, labels[test]))


@lru_cache(maxsize=4)
def _drawn_mnist(config: Mnist) -> Examples:
    files = _files(Path(config.folder).expanduser())
    generator, sides = torch.Generator().manual_seed(config.data_seed), []
    for part, field, n in (("train", "n_train", config.n_train), ("t10k", "n_test", config.n_test)):
        images, labels = _images_and_labels(files[f"{part}-images"], files[f"{part}-labels"])
        if n > len(images):
            raise UserError(f"{field} must be at most {len(images)}, the images in {files[f'{part}-images']}; got {n}")
        chosen = torch.randperm(len(images), generator=generator)[:n]
        sides.append((images[chosen].flatten(1).double() / 255, labels[chosen].long()))
    return joined(*sides)


def _files(folder: Path) -> dict[str, Path]:
    """The four files under any of their usual names."""
    found, missing = {}, []
    for part in ("train", "t10k"):
        for what, axes in (("images", 3), ("labels", 1)):
            stem, kind = f"{part}-{what}", f"idx{axes}-ubyte"
            names = [f"{stem}{dash}{kind}{end}" for end in ("", ".gz") for dash in "-."]
            at = next((folder / name for name in names if (folder / name).is_file()), None)
            found |= {stem: at} if at else {}
            missing += [] if at else [names[0]]
    if missing:
        raise UserError(
            f"MNIST must be in the folder {folder}: looked there for {', '.join(missing)} (or .idx for -idx, or with "
            f".gz) and did not find {'it' if len(missing) == 1 else 'them'}; put the files from {MNIST_AT} there, or "
            f"give another folder"
        )
    return found


def _images_and_labels(
    of_images: Path, of_labels: Path
) -> tuple[UInt8[Tensor, "image row column"], UInt8[Tensor, " image"]]:
    images, labels = read_idx(of_images), read_idx(of_labels)
    if images.shape[1:] != (MNIST_SIDE, MNIST_SIDE):
        raise UserError(f"{of_images} must hold images of {MNIST_SIDE} x {MNIST_SIDE} pixels; got {_sizes(images)}")
    if labels.shape != images.shape[:1]:
        raise UserError(
            f"{of_labels} must hold one label for each of the {len(images)} images in {of_images}; got {_sizes(labels)}"
        )
    if labels.numel() and labels.max() > 9:
        raise UserError(f"{of_labels} must hold labels 0..9; got {int(labels.max())}")
    return images, labels


def _sizes(array: Tensor) -> str:
    return " x ".join(map(str, array.shape))
