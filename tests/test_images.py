"""Images: scikit-learn's digits as they come, MNIST files written by hand; each missing or damaged file by its name."""

import gzip
import struct
from pathlib import Path

import pytest
import torch
from loops import for_each
from oracles import generator

from circuitgrok.tasks.images import Digits, Mnist

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(array: torch.Tensor) -> bytes:
    header = bytes([0, 0, 8, array.dim()]) + struct.pack(f">{array.dim()}I", *array.shape)
    return header + bytes(array.flatten().tolist())


def arrays(n_train: int = 30, n_test: int = 12, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random images, the first pixels of each giving its place in its file and the side that it is on."""
    drawn, sides = generator(seed), []
    for side, n in enumerate((n_train, n_test)):
        images = torch.randint(256, (n, 28, 28), generator=drawn, dtype=torch.uint8)
        images[:, 0, 0], images[:, 0, 1] = torch.arange(n), side
        sides += [images, torch.randint(10, (n,), generator=drawn, dtype=torch.uint8)]
    return dict(zip(NAMES, sides, strict=True))


def write(folder: Path, found: dict[str, torch.Tensor]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, array in found.items():
        (folder / name).write_bytes(idx(array))
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "files", arrays())


def mnist(folder: Path, **fields) -> Mnist:
    return Mnist.model_validate({"folder": str(folder), "n_train": 20, "n_test": 8} | fields)


# scikit-learn's digits


def pixels() -> tuple[torch.Tensor, torch.Tensor]:
    from sklearn.datasets import load_digits

    found = load_digits(return_X_y=True)
    return torch.as_tensor(found[0]), torch.as_tensor(found[1])


def test_digits_are_all_there_once_with_their_labels():
    task, (images, labels) = Digits(n_train=1000).draw(), pixels()
    assert task.inputs.shape == (1797, 64) and task.inputs.min() == 0 and task.inputs.max() == 1
    assert task.n_train == 1000 and task.where("test").sum() == 797
    here = sorted([*row, label] for row, label in zip((16 * task.inputs).tolist(), task.labels.tolist(), strict=True))
    assert here == sorted([*row, label] for row, label in zip(images.tolist(), labels.tolist(), strict=True))


def test_seed_draws_the_digits():
    one, other = (Digits(n_train=100, data_seed=seed).draw() for seed in (0, 1))
    assert one.split_hash != other.split_hash and Digits(n_train=100).draw() is one
    (images, labels), order = pixels(), torch.randperm(1797, generator=generator(1))
    assert torch.equal(other.inputs[:100], images[order[:100]] / 16) and torch.equal(
        other.labels[:100], labels[order[:100]]
    )


def test_training_digits_nest_and_given_test_digits_stay():
    less, more = (Digits(n_train=n, n_test=500, data_seed=3).draw() for n in (200, 1297))
    assert torch.equal(less.inputs[:200], more.inputs[:200])
    assert torch.equal(less.inputs[less.where("test")], more.inputs[more.where("test")])
    assert len(less.inputs) == 700 and len(more.inputs) == 1797 == len({tuple(row) for row in more.inputs.tolist()})


def test_digits_say_what_the_trainer_needs():
    config = Digits(n_train=50, n_test=60)
    task = config.draw()
    assert (config.p, config.n_classes, config.n_features, config.n_pairs) == (None, 10, 64, 110)
    assert task.inputs.dtype == torch.float64 and task.labels.dtype == torch.int64 and task.n_train == config.n_train
    assert Digits().n_pairs == 1797 and Digits.model_validate_json(config.model_dump_json()) == config
    assert all(field.description for name, field in Digits.model_fields.items() if name != "kind")


@for_each(
    ("fields", "message"),
    [
        ({"n_train": 1797}, r"at most 1797, .* with one or more to test on; got 1797 \+ 0"),
        ({"n_train": 1000, "n_test": 798}, r"n_train \+ n_test must be at most 1797, .* got 1000 \+ 798"),
        ({"n_train": 0}, "n_train\n.*greater than or equal to 1"),
        ({"n_test": 0}, "n_test\n.*greater than or equal to 1"),
        ({"folder": "mnist"}, "folder\n.*Extra inputs"),
    ],
)
def test_digits_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Digits.model_validate(fields)


# MNIST


def test_examples_are_images_of_their_own_file_with_their_label(folder):
    task, files = mnist(folder).draw(), arrays()
    assert task.inputs.shape == (28, 784) and task.inputs.dtype == torch.float64 and task.labels.dtype == torch.int64
    assert task.n_train == 20 and task.is_train[:20].all()
    seen = []
    for row, label, is_train in zip(task.inputs, task.labels.tolist(), task.is_train.tolist(), strict=True):
        place, side = (255 * row[:2]).round().int().tolist()
        part = "train" if is_train else "t10k"
        assert side == (not is_train)
        assert torch.equal(row, files[f"{part}-images-idx3-ubyte"][place].flatten().double() / 255)
        assert label == files[f"{part}-labels-idx1-ubyte"][place]
        seen.append((place, side))
    assert len(set(seen)) == 28


def test_images_are_drawn_by_the_seed_and_nest(folder):
    less, more, other = (mnist(folder, n_train=n, data_seed=s).draw() for n, s in ((5, 0), (30, 0), (5, 1)))
    assert torch.equal(less.inputs[:5], more.inputs[:5]) and not torch.equal(less.inputs, other.inputs)
    assert torch.equal(less.inputs[less.where("test")], more.inputs[more.where("test")])
    assert mnist(folder, n_train=30, n_test=12).draw().inputs[:, 0].mul(255).round().long().bincount().max() == 2


@for_each("form", ["plain", "gz", "dotted", "dotted gz", "mixed"])
def test_files_go_by_all_their_usual_names(tmp_path, folder, form):
    other = tmp_path / "renamed"
    other.mkdir()
    for i, name in enumerate(NAMES):
        content = (folder / name).read_bytes()
        dotted, packed = "dotted" in form or (form == "mixed" and i % 2), "gz" in form or (form == "mixed" and i > 1)
        new = (name.replace("-idx", ".idx") if dotted else name) + (".gz" if packed else "")
        (other / new).write_bytes(gzip.compress(content) if packed else content)
    one, two = mnist(folder).draw(), mnist(other).draw()
    assert torch.equal(one.inputs, two.inputs) and one.split_hash == two.split_hash


def test_hash_covers_the_content_of_the_files(tmp_path):
    """One pixel or one label that is used changes it; the config's own hash cannot know."""
    files = arrays()
    hashes = {mnist(write(tmp_path / "as-they-are", files), n_train=30, n_test=12).draw().split_hash}
    for name in NAMES:
        changed = {key: array.clone() for key, array in files.items()}
        changed[name].view(-1)[-1] = (changed[name].view(-1)[-1] + 1) % 10
        hashes.add(mnist(write(tmp_path / name, changed), n_train=30, n_test=12).draw().split_hash)
    assert len(hashes) == 5


def test_mnist_says_what_the_trainer_needs_before_there_are_files(tmp_path):
    config = mnist(tmp_path / "nowhere")
    assert (config.p, config.n_classes, config.n_features, config.n_pairs, config.n_train) == (None, 10, 784, 28, 20)
    assert Mnist.model_validate_json(config.model_dump_json()) == config and Mnist().n_pairs == 3000
    assert config.formula == "MNIST, digits of 28 x 28 pixels"
    assert all(field.description for name, field in Mnist.model_fields.items() if name != "kind")


def test_folder_without_files_is_refused_with_where_to_get_them(tmp_path):
    where = f"MNIST must be in the folder {tmp_path / 'nowhere'}: looked there for {', '.join(NAMES)} "
    what = "did not find them; put the files from https://storage.googleapis.com/cvdf-datasets/mnist/ there, or give"
    with pytest.raises(ValueError, match=f"{where}.*{what}"):
        mnist(tmp_path / "nowhere").draw()


def test_one_missing_file_is_named_and_found_once_it_is_there(folder):
    content = (folder / NAMES[3]).read_bytes()
    (folder / NAMES[3]).unlink()
    with pytest.raises(ValueError, match=f"looked there for {NAMES[3]} .* did not find it"):
        mnist(folder).draw()
    (folder / NAMES[3]).write_bytes(content)
    assert mnist(folder).draw().n_train == 20


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (NAMES[0], torch.zeros(30, 8, 8), "must hold images of 28 x 28 pixels; got 30 x 8 x 8"),
        (NAMES[2], torch.zeros(12), "must hold images of 28 x 28 pixels; got 12"),
        (NAMES[1], torch.zeros(29), "must hold one label for each of the 30 images in .*; got 29"),
        (NAMES[3], torch.zeros(12, 1), "must hold one label for each of the 12 images in .*; got 12 x 1"),
        (NAMES[1], torch.full((30,), 10), "must hold labels 0..9; got 10"),
    ],
)
def test_file_of_another_kind_is_refused_by_its_name(folder, name, array, message):
    write(folder, {name: array.to(torch.uint8)})
    with pytest.raises(ValueError, match=f"{folder / name} {message}"):
        mnist(folder).draw()


def test_damaged_file_is_refused_by_its_name(folder):
    (folder / NAMES[0]).write_bytes((folder / NAMES[0]).read_bytes()[:-1])
    with pytest.raises(ValueError, match=f"{folder / NAMES[0]} is damaged: its header says 30 x 28 x 28 bytes"):
        mnist(folder).draw()


@for_each(("field", "file", "there"), [("n_train", NAMES[0], 30), ("n_test", NAMES[2], 12)])
def test_more_images_than_the_file_has_are_refused(folder, field, file, there):
    with pytest.raises(ValueError, match=f"{field} must be at most {there}, the images in {folder / file}; got 31"):
        mnist(folder, **{field: 31}).draw()
