"""The inspector of a notebook: what is selected is synchronised, and weights are answered exactly."""

import builtins

import numpy as np
import pytest
from tiny import tiny

from circuitgrok.errors import UserError
from circuitgrok.faces.inspector import widget
from circuitgrok.faces.inspector.packing import unpacked
from circuitgrok.training.loop import train

pytest.importorskip("anywidget")


def test_weights_are_sent_when_the_page_asks_for_them(tmp_path):
    runs = train([tiny(), tiny(alpha=2.0)], tmp_path)
    inspector = widget.inspect(*runs)
    sent = []
    inspector.send = lambda content, buffers: sent.append((content, buffers))
    step = runs[1].steps[2]
    inspector._handle_custom_msg({"kind": "weights", "run": 1, "step": step}, [])
    inspector._handle_custom_msg({"kind": "something else"}, [])
    [(content, [buffer])] = sent
    assert content == {"kind": "weights", "run": 1, "step": step}
    arrays = unpacked(buffer)[1]
    assert arrays.keys() == runs[1].at(step).keys()
    assert all(np.array_equal(arrays[name], value.numpy()) for name, value in runs[1].at(step).items())


def test_what_is_selected_and_shown_is_synchronised(tmp_path):
    [run] = train([tiny()], tmp_path)
    inspector = widget.inspect(run)
    state = inspector.get_state()
    assert state["selected"] == {"run": 0, "step": 24, "neurons": [], "frequencies": []}
    content, arrays = unpacked(bytes(state["payload"]))
    assert content["runs"][0]["kept"] == [] and arrays["0/steps"].tolist() == run.steps
    assert "render" in inspector._esm
    inspector.set_state({"selected": {"run": 0, "step": 8, "neurons": [3], "frequencies": [1]}})
    assert inspector.selected["step"] == 8 and inspector.selected["neurons"] == [3]


def test_without_anywidget_it_says_what_to_install(tmp_path, monkeypatch):
    [run] = train([tiny()], tmp_path)
    real = builtins.__import__

    def without(name, *rest, **named):
        if name == "anywidget":
            raise ImportError(name)
        return real(name, *rest, **named)

    widget._widget_class.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"circuitgrok\[notebook\]"):
        widget.inspect(run)
