"""How steps are taken: captured or one by one, by what interventions declare, and that a run says so."""

import torch
from standin import DEVICE, StandIn
from test_device import elsewhere  # noqa: F401
from tiny import json_lines, tiny

from circuitgrok.training.captured import CapturedSteps
from circuitgrok.training.loop import Silent, train
from circuitgrok.training.stack import new_stack
from circuitgrok.training.steps import OneByOne, steps_of, uncapturable


def test_steps_are_captured_elsewhere_than_on_the_cpu_if_every_intervention_can_be():
    with StandIn():
        assert isinstance(steps_of(new_stack([tiny(l1=0.1)], DEVICE)), CapturedSteps)
        mixed = new_stack([tiny(l1=0.1, nuclear=0.1, spectral_entropy=0.1)], DEVICE)
        assert isinstance(steps_of(mixed), OneByOne) and uncapturable(mixed) == ["nuclear", "spectral_entropy"]
    assert isinstance(steps_of(new_stack([tiny()])), OneByOne)


def test_one_by_one_a_step_is_looked_at_and_then_taken():
    steps = OneByOne(new_stack([tiny(), tiny(seed=1)]))
    before = steps.stack.flat.clone()
    assert steps.look(3, due=False) == ([True, True], None) and torch.equal(steps.stack.flat, before)
    _, records = steps.look(3, due=True)
    assert records is not None and [record["step"] for record in records] == [3, 3]
    assert steps.advance(3, lambda step: False) == 4 and not torch.equal(steps.stack.flat, before)
    steps.stack.flat[1].fill_(torch.nan)
    finite, records = steps.look(4, due=False)
    assert finite == [True, False] and records is not None


def test_whoever_cannot_be_captured_trains_step_by_step_and_says_why(elsewhere, tmp_path):  # noqa: F811
    class Noted(Silent):
        notes: list[str] = []

        def note(self, text: str) -> None:
            self.notes.append(text)

    [run] = train([tiny(nuclear=0.01)], tmp_path, names=["run"], device=str(elsewhere), progress=Noted())
    assert run.state == "finished"
    assert [e["kinds"] for e in json_lines(run.path / "events.jsonl") if e["event"] == "uncaptured"] == [["nuclear"]]
    assert Noted.notes == ["run: steps are taken one by one, for nuclear cannot be captured"]
    [plain] = train([tiny()], tmp_path, names=["plain"], device=str(elsewhere))
    [here] = train([tiny(nuclear=0.01)], tmp_path, names=["here"])
    assert not [e for run in (plain, here) for e in run.events if e["event"] == "uncaptured"]
