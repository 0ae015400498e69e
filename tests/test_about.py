"""What a page says of a run, and of checkpoints that lie in no folder of ours."""

from tiny import tiny

from circuitgrok.faces.inspector.about import about
from circuitgrok.faces.inspector.payload import payload
from circuitgrok.training.loop import train


class Held:
    """Checkpoints in memory, with as much as `measure` asks for."""

    def __init__(self, run):
        self.config, self.model, self.task, self.steps, self.split_is_known = (
            run.config, run.config.model, run.task, run.steps, True,
        )  # fmt: skip
        self.name, self.at, self.stack, self.saved_steps, self.updates = (
            "held <b>", run.at, run.stack, run.saved_steps, run.updates,
        )  # fmt: skip


def test_of_a_run_it_says_what_was_trained(tmp_path):
    [run] = train([tiny(alpha=2.0)], tmp_path, names=["two\x1b words"])
    said = about(run)
    assert said.name == "two\\x1b words" and said.path == str(run.path) and said.split_is_known
    assert said.facts["alpha"].startswith("2 × nanda") and said.facts["trained on"] == "60 of 121 examples"
    assert said.facts["state"] == f"finished, {len(run.steps)} checkpoints"


def test_checkpoints_without_a_folder_have_a_page_whose_history_is_what_was_measured(tmp_path):
    [run] = train([tiny()], tmp_path)
    held, of_run = payload([Held(run)]), payload([run])  # pyright: ignore[reportArgumentType]
    one = held[0]["runs"][0]
    assert one["path"] is None and one["name"] == "held <b>" and one["events"] == of_run[0]["runs"][0]["events"]
    assert held[1]["0/history/step"].tolist() == run.steps
    losses = held[1]["0/table"][one["columns"].index("loss[test]")]
    assert held[1]["0/history/test_loss"].tolist() == losses.tolist()
    assert (held[1]["0/table"] == of_run[1]["0/table"]).sum() > 0.8 * held[1]["0/table"].size  # the rest is nan
