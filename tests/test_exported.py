"""Out again: what is written is read again to the same bits, and by TransformerLens 4 to the same logits."""

import json
from pathlib import Path

import pytest
import torch
from loops import for_each
from test_checkpoints import copied
from tiny import files_of, tiny
from tiny_kinds import tiny_kind

import circuitgrok as cg
from circuitgrok.errors import UserError
from circuitgrok.faces import cli
from circuitgrok.faces.card import write_folder
from circuitgrok.foreign.exported import write_weights
from circuitgrok.foreign.published import Published
from circuitgrok.models.kinds import transformer_of
from circuitgrok.store.run import Run, RunError
from circuitgrok.tasks.splits import listed_split, share_of


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    mask = torch.arange(121) % 7 < 3  # which no rule draws
    config = tiny(steps=40, lr=0.02, split=listed_split(mask), frac_train=share_of(int(mask.sum()), 121))
    return cg.train([config], tmp_path_factory.mktemp("out"), names=["mine"])[0]


def call(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command."""
    code = cli.run(list(words))
    out, err = capsys.readouterr()
    return code, out, err


def again(file: Path, run: Run, step: int, **given: object) -> Published:
    """What is read again, of the same bits."""
    found = cg.open_checkpoints(file, **given)  # pyright: ignore
    assert isinstance(found, Published) and found.steps == [step]
    weights = run.at(step)
    assert list(found.at(step)) == list(weights)
    assert all(torch.equal(found.at(step)[name], value) for name, value in weights.items())
    return found


def test_state_dict_of_transformer_lens_is_read_by_us_and_by_transformer_lens(run, tmp_path):
    from transformer_lens.utilities.tl_checkpoint_conversion import convert_tl_checkpoint

    file = cg.lens.save_hooked(run, 40, tmp_path / "mine.pth")
    again(file, run, 40, steps=40, split=run.task.is_train)
    saved = torch.load(file, weights_only=True)
    assert {"blocks.0.attn.mask", "blocks.0.attn.IGNORE"} <= saved.keys() and len(saved) == len(run.at(40)) + 2
    other = {name: torch.zeros_like(value) for name, value in run.at(40).items()}
    bridge = cg.lens.to_bridge(other, transformer_of(run.model))  # of this shape, with other weights
    bridge.load_state_dict(convert_tl_checkpoint(saved, bridge.cfg), strict=True)
    theirs = bridge(run.task.inputs)[:, -1]
    torch.testing.assert_close(theirs, run.model.logits(run.at(40), run.task.inputs), rtol=1e-5, atol=1e-5)
    torch.save(bridge.state_dict(), tmp_path / "bridge.pt")  # as TransformerLens 4 saves it
    again(tmp_path / "bridge.pt", run, 40, steps=40, n_heads=2)


@for_each("step", [0, 40])
def test_safetensors_and_folder_say_themselves_what_they_are(run, tmp_path, step):
    file = write_weights(run, step, tmp_path / "w.safetensors")
    for found in (again(file, run, step), again(write_folder(run, step, tmp_path / "hub")[0].parent, run, step)):
        assert found.config == run.config and torch.equal(found.task.is_train, run.task.is_train)
        assert found.split_is_known and found.notes == ()
        table, there = cg.measure(found, "circuits"), cg.measure(run, "circuits", step)
        assert table["loss[test]"].equals(there["loss[test]"])


@for_each("kind", ["embedding", "quadratic", "dense", "digits", "composition"])
def test_networks_of_every_kind_come_back(tmp_path, kind):
    [run] = cg.train([tiny_kind(kind)], tmp_path, names=["mine"])
    found = again(write_folder(run, 16, tmp_path / "hub")[0].parent, run, 16)
    assert found.config == run.config
    again(write_weights(run, 16, tmp_path / "w.safetensors"), run, 16)
    if not run.model.has_heads:
        with pytest.raises(UserError, match="this needs a transformer"):
            cg.lens.save_hooked(run, 16, tmp_path / "w.pth")


def test_folder_holds_a_card_with_its_figure_that_names_the_network(run, tmp_path):
    files = write_folder(run, 40, tmp_path / "hub")
    assert sorted(file.name for file in files) == [
        "README.md", "config.json", "figure.png", "figure.svg", "model.safetensors",
    ]  # fmt: skip
    card = (tmp_path / "hub" / "README.md").read_text("utf-8")
    assert card.startswith("---\nlibrary_name: circuitgrok\n") and "# mine, step 40" in card
    assert "a + b mod 11" in card and "![" in card and "(figure.png)" in card and "cg.lens.to_bridge" in card
    assert json.loads((tmp_path / "hub" / "config.json").read_text())["model_type"] == "circuitgrok"
    assert str(run.path) not in card  # where it lay here is nobody's business
    before = files_of(tmp_path / "hub")
    assert files_of(write_folder(run, 40, tmp_path / "hub")[0].parent) == before  # the same again
    own = write_folder(copied(run), 40, tmp_path / "own")
    assert "# Own, step 40" in own[1].read_text("utf-8")


def test_damaged_descriptions_and_absent_steps_are_refused_and_leave_nothing(run, tmp_path):
    write_folder(run, 40, tmp_path / "hub")
    settings = tmp_path / "hub" / "config.json"
    content = json.loads(settings.read_text())
    for change in ({"config": 3}, {"config": {"task": {"kind": "x"}}}, {"pairs": "AAAA"}):
        settings.write_text(json.dumps(content | {"circuitgrok_export": content["circuitgrok_export"] | change}))
        (tmp_path / "hub" / "model.safetensors").write_bytes(write_plain(run, tmp_path))
        with pytest.raises(UserError, match="the description of an exported network is damaged"):
            cg.open_checkpoints(tmp_path / "hub")
    for write in (
        lambda: write_folder(run, 7, tmp_path / "new"),
        lambda: cg.lens.save_hooked(run, 7, tmp_path / "n.pt"),
    ):
        with pytest.raises(RunError, match="no checkpoint at step 7"):
            write()
    with pytest.raises(UserError, match="written as .pth, .pt or .safetensors; got 'w.npz'"):
        write_weights(run, 40, tmp_path / "w.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub", "plain.safetensors"]


def write_plain(run: Run, folder: Path) -> bytes:
    from safetensors.torch import save_file

    save_file(run.at(40), folder / "plain.safetensors")
    return (folder / "plain.safetensors").read_bytes()


def test_commands_bring_in_and_take_out(run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for form, name in (("tl", "mine-40.pth"), ("safetensors", "mine-40.safetensors"), ("huggingface", "mine-40")):
        code, out, err = call(capsys, "export", str(run.path), "--as", form)
        assert code == 0, err
        assert name in out and (tmp_path / name).exists()
    (tmp_path / "pairs.json").write_text(json.dumps(run.task.is_train.nonzero().flatten().tolist()))
    code, out, err = call(
        capsys, "import", "mine-40.pth", "--steps", "40", "--train-pairs", "pairs.json", "--act", "relu"
    )
    assert code == 0 and "split        given" in out and ("key freqs" in out or "no sparse spectrum" in out), err
    assert torch.equal(cg.load("checkpoints/mine-40").task.is_train, run.task.is_train)
    code, out, err = call(capsys, "import", "mine-40", "--name", "hub")
    assert code == 0 and cg.load("checkpoints/hub").config == run.config, err
    for step in (0, 40):  # as a shell expands a pattern
        write_weights(run, step, tmp_path / f"step_{step}.pt")
    code, out, err = call(capsys, "import", "step_0.pt", "step_40.pt", "--name", "both", "--steps", "0", "40")
    assert code == 0 and cg.load("checkpoints/both").steps == [0, 40], err
    assert call(capsys, "import")[0] == 2
    code, out, err = call(capsys, "export", str(run.path), "--out", "a.txt")
    assert code == 2 and "must end with .safetensors; got 'a.txt'" in err


@for_each(
    "words",
    [
        ("nothing.pth",), ("mine.pth", "--as", "nanda"), ("mine.pth", "--steps", "1", "2"), ("mine.pth",),
        ("mine.pth", "--map", "none.json"), ("mine.pth", "--steps", "4", "--train-pairs", "pairs.json"),
        ("mine.pth", "--steps", "4", "--data-seed", "-1"), ("folder",),
    ],
)  # fmt: skip
def test_refused_imports_leave_no_folder(run, tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    cg.lens.save_hooked(run, 40, "mine.pth")
    (tmp_path / "pairs.json").write_text("[999]")
    (tmp_path / "folder").mkdir()
    before = files_of(tmp_path)
    code, _, err = call(capsys, "import", *words)
    assert code == 2 and err.count("circuitgrok: ") == 1, err
    assert files_of(tmp_path) == before and not (tmp_path / "checkpoints").exists()


def test_exported_files_of_several_steps_open_together_and_a_stand_in_stays_one(run, tmp_path):
    for step in (0, 8, 40):
        write_weights(run, step, tmp_path / f"step_{step}.safetensors")
    found = cg.open_checkpoints(tmp_path)
    assert isinstance(found, Published) and found.steps == [0, 8, 40] and found.config == run.config
    assert all(torch.equal(value, run.at(8)[name]) for name, value in found.at(8).items())
    assert cg.open_checkpoints(tmp_path, steps=[8]).steps == [8]
    with pytest.raises(UserError, match="has no network at step 3"):
        cg.open_checkpoints(tmp_path, steps=[3])
    unknown = cg.open_checkpoints({0: run.at(0)})
    again = cg.open_checkpoints(write_weights(unknown, 0, tmp_path / "unknown.safetensors"))
    assert isinstance(again, Published) and not again.split_is_known
    listed = cg.open_checkpoints({0: run.at(0)}, task=cg.TrainConfig().with_(p=11).task, split=run.task.is_train)
    assert torch.equal(listed.task.is_train, run.task.is_train)  # the split given, not that of the task's rule
