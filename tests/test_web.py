"""The page in a real browser: all views follow the slider, and what it computes is what Python computes."""

import contextlib
import io
import json
import math
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from browsing import address_of, browser, page_at, settle
from loops import for_each
from tiny import tiny
from tiny_kinds import LEAVES, NUMBERS, tiny_kind

import circuitgrok as cg
from circuitgrok.faces.inspector.packing import packed
from circuitgrok.faces.inspector.payload import payload, weights_of
from circuitgrok.faces.inspector.report import KERNEL, PROGRAM, report
from circuitgrok.measures.parts.last_block import last_block
from circuitgrok.measures.parts.neurons import in_cluster, neuron_phases, phase_alignment
from circuitgrok.measures.spectra.fourier import fourier_basis
from circuitgrok.models.kinds import transformer_of
from circuitgrok.study.sweep import sweep
from circuitgrok.training.loop import train

ROOT = Path(__file__).parents[1]
WEB = ROOT / "circuitgrok" / "faces" / "web"
REFERENCE = ROOT / "checkpoints" / "reference"
SIZES = [(width, scheme) for width in (1000, 1600) for scheme in ("light", "dark")]
# What a panel shows: its text, its lines and its pictures.
SHOWN = """() => Object.fromEntries([...document.querySelectorAll("section.panel")].map((one) => [
  one.getAttribute("aria-label"),
  one.querySelector(".body").innerHTML + [...one.querySelectorAll("canvas")].map((canvas) => canvas.toDataURL()).join(),
]))"""

in_browser = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium():
    with browser() as opened:
        yield opened


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return report(cg.load(REFERENCE), tmp_path_factory.mktemp("page") / "reference.html")


def scores(page) -> dict[str, float]:
    """The edited column of the table, or that of the network as it is."""
    read = """() => Object.fromEntries([...document.querySelectorAll("[data-score]")].map((row) => {
      const [plain, edited] = row.querySelectorAll("td");
      return [row.dataset.score, Number(edited.dataset.value || plain.dataset.value)];
    }))"""
    settle(page)
    return page.evaluate(read)


def code(page) -> str:
    return page.locator("section[aria-label='As Python'] pre").inner_text()


def python_says(page, folder: Path) -> dict[str, float]:
    """What the lines of the page give when they are run there."""
    names: dict = {}
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        exec(code(page).split("\nbridge")[0].split("\nrow")[0], names)
    result, labels = names["result"], names["run"].task.labels
    sides = {name: getattr(result, name) for name in ("train_loss", "test_loss", "train_acc", "test_acc")}
    right = (result.logits.argmax(-1) == labels).double().mean()
    return sides | {"all_loss": float(names["all_loss"]), "all_acc": float(right)}


@in_browser
def test_every_view_follows_the_slider(chromium, reference):
    with page_at(chromium, address_of(reference)) as page:
        page.locator("[role=slider]").focus()
        seen = []
        for key in ("Home", "End", "ArrowLeft", "PageDown"):
            page.keyboard.press(key)
            settle(page)
            seen.append((page.locator("[role=slider]").get_attribute("aria-valuenow"), page.evaluate(SHOWN)))
        assert [int(at) for at, _ in seen] == [0, 25, 24, 14]
        assert len(seen[0][1]) == 12
        for before, after in zip(seen, seen[1:], strict=False):
            assert [name for name in before[1] if before[1][name] == after[1][name]] == []
        page.get_by_role("button", name="by events").click()
        assert float(page.locator("line.thumb").get_attribute("x1")) > 0
        page.keyboard.press("Home")
        page.locator("[role=slider]").focus()
        page.keyboard.press(" ")
        page.wait_for_function("() => circuitgrok.state.now.at >= 3")
        page.keyboard.press(" ")
        assert page.evaluate("() => circuitgrok.state.now.playing") is False


def press(page, *names: str) -> None:
    for name in names:
        page.locator("section[aria-label='Hands on the model']").get_by_role("button", name=name, exact=True).click()


def slide(page, label: str, value: int) -> None:
    page.get_by_label(label).evaluate(f"(one) => {{ one.value = {value}; one.dispatchEvent(new Event('input')); }}")


HANDS = {
    "as it is": lambda page: None,
    "frequency": lambda page: press(page, "5"),
    "frequencies in logits": lambda page: press(page, "all key", "in logits"),
    "neurons of frequencies": lambda page: press(page, "6", "their neurons", "mean"),
    "head": lambda page: press(page, "head 2"),
    "heads by their mean": lambda page: press(page, "head 0", "head 3", "mean"),
    "parts": lambda page: press(page, "pattern → uniform", "skip"),
    "neurons": lambda page: press(page, "those of the circle's k"),
    "radius": lambda page: slide(page, "change of the radius in percent", -40),
    "path": lambda page: (
        page.get_by_role("combobox", name="to", exact=True).select_option(label="step 500"),
        slide(page, "share of the way in percent", 30),
    ),
    "all of it": lambda page: (press(page, "9", "head 1"), slide(page, "change of the radius in percent", 25)),
}


@in_browser
@for_each("hand", HANDS)
def test_what_the_page_computes_is_what_its_lines_give_in_python(hand, chromium, reference):
    with page_at(chromium, address_of(reference)) as page:
        plain = scores(page)
        HANDS[hand](page)
        found, said = scores(page), python_says(page, ROOT)
        assert found == pytest.approx(said, rel=1e-5, abs=1e-9)
        assert (found == plain) == (hand == "as it is")
        for name, value in said.items():  # the number that stands behind the line is the one that the line gives
            lines = [line for line in code(page).splitlines() if line.startswith((f"result.{name}", f"{name} ="))]
            assert [float(line.split("#")[1]) for line in lines] == (
                [pytest.approx(value, rel=1e-5, abs=1e-9)] if name != "all_acc" else []
            )
        press(page, "undo all")
        assert scores(page) == plain


@in_browser
def test_transplants_from_another_run_are_those_of_python(chromium, tmp_path):
    how = {"steps": 200, "checkpoint_every": 100, "n_layers": 2}
    runs = train([tiny(**how), tiny(**how, seed=1)], tmp_path)
    page_file = report(runs, tmp_path / "two.html")
    with page_at(chromium, address_of(page_file)) as page:
        plain = scores(page)
        page.get_by_label("from", exact=True).select_option(label=f"{runs[1].name}, step 100")
        page.get_by_label("transplant").check()
        for what in ("weights", "radius", "direction"):
            page.get_by_label("take", exact=True).select_option(what)
            for part in ("all weights", "layer 1", "layer 0 head 1", "layer 1 head 0"):
                page.get_by_label("of", exact=True).select_option(label=part)
                found = scores(page)
                assert found != plain, (what, part)
                assert found == pytest.approx(python_says(page, ROOT), rel=1e-5, abs=1e-9), (what, part)
        page.get_by_label("beside").select_option("-1")
        page.get_by_label("run", exact=True).select_option(label=runs[1].name)
        assert scores(page) == pytest.approx(python_says(page, ROOT), rel=1e-5, abs=1e-9)


@in_browser
def test_what_views_say_is_what_python_measures(chromium, reference):
    run = cg.load(REFERENCE)
    params, task = run.at(1500), run.task
    block = last_block(params, transformer_of(run.config.model), task.inputs)
    table = cg.measure(run, ["fourier", "circuits", "neurons", "attention"], steps=1500)

    def value(text: str) -> float:
        return float(text.replace("−", "-"))

    def said(page, panel: str, what: str) -> str:
        return page.locator(f"section[aria-label='{panel}'] {what}").first.inner_text()

    with page_at(chromium, address_of(reference)) as page:
        at = run.steps.index(1500)
        page.evaluate(
            f"() => circuitgrok.state.set({{at: {at}, freq: 6, picture: 'neuron', neuron: 11, pair: [4, 9]}})"
        )
        settle(page)
        legend = page.locator("section[aria-label='Losses'] .entry").all_inner_texts()
        restricted = next(text for text in legend if text.startswith("restricted"))
        assert value(restricted.split()[-1]) == pytest.approx(table["restricted_loss[all]"].iloc[0], rel=6e-3)

        power = table[[name for name in table if str(name).startswith("power_W_E[")]].iloc[0]
        best = power.argmax()
        assert said(page, "Spectrum", ".entry b").startswith(f"k {best + 1}: {power.iloc[best] / power.sum():.2f}")

        title = said(page, "Attention of ‘=’", ".small-title")
        assert value(title.split()[-1]) == pytest.approx(table["attention[head 0, a]"].iloc[0], abs=6e-3)

        picture = page.locator("section[aria-label='A neuron, head or logit'] .reading")
        neuron = block.post[:, 11].double()
        first = picture.first.inner_text()
        assert first.startswith("a = 4, b = 9: ")
        assert value(first.split()[-1]) == pytest.approx(float(neuron[4 * 29 + 9]), rel=6e-3, abs=1e-6)
        basis = fourier_basis(29)
        energy = (basis @ (neuron - neuron.mean()).view(29, 29) @ basis.T).square()
        of_freq = torch.zeros(15, 29, dtype=torch.float64).index_add(0, (torch.arange(29) + 1) // 2, energy)
        norms = torch.zeros(15, 15, dtype=torch.float64).index_add(1, (torch.arange(29) + 1) // 2, of_freq).sqrt()
        k, other = divmod(int(norms.argmax()), 15)
        waves = picture.last.inner_text()
        assert waves.startswith(f"k of a {k}, of b {other}: ")
        assert value(waves.split()[-1]) == pytest.approx(float(norms.max()), rel=6e-3)

        mine = in_cluster(block.tuned) & (block.tuned.freq == 6)
        phases = neuron_phases(block.pre, run.config.model.neuron_to_logit(params), block.tuned.freq)
        alignment = float(phase_alignment(phases, mine))
        caption = page.locator("section[aria-label='Neurons'] figcaption").last.inner_text()
        assert f"{int(mine.sum())} of them pure" in caption
        assert value(caption.split()[-1]) == pytest.approx(alignment, rel=6e-3)

        logits = block.read(block.skip + block.mlp)
        right = logits[torch.arange(841), task.labels]
        others = logits.scatter(1, task.labels[:, None], -torch.inf).amax(1)
        reading = said(page, "Logits by sum and difference", ".reading")
        assert reading.startswith("sum 13, difference 24: ")
        assert value(reading.split()[-1]) == pytest.approx(float((right - others)[4 * 29 + 9]), rel=6e-3, abs=1e-3)


@in_browser
def test_runs_of_other_shapes_have_their_own_views(chromium, tmp_path):
    configs = [tiny(), tiny_kind("embedding"), tiny_kind("digits")]
    runs = [train([config], tmp_path, names=[name])[0] for name, config in zip("abc", configs, strict=True)]
    with page_at(chromium, address_of(report(runs, tmp_path / "page.html"))) as page:
        assert page.get_by_label("beside").input_value() == "1"
        press(page, "head 1")
        assert "head 1" in code(page)
        page.get_by_label("run", exact=True).select_option(label="b")
        settle(page)
        assert page.get_by_role("button", name="head 1").count() == 0 and "edits = []" in code(page)
        assert "attention" in page.locator(".not-shown").inner_text()
        press(page, "2")
        assert scores(page) == pytest.approx(python_says(page, tmp_path), rel=1e-5, abs=1e-8)
        page.get_by_label("run", exact=True).select_option(label="c")
        settle(page)
        assert page.locator("section.panel").count() == 6
        page.get_by_label("run", exact=True).select_option(label="a")
        press(page, "head 0")
        slide(page, "share of the way in percent", 40)  # to the last checkpoint of another shape
        assert "shape" in page.locator("[role=status]").inner_text()
        page.get_by_role("combobox", name="to", exact=True).select_option(label="a, step 8")
        assert scores(page) == pytest.approx(python_says(page, tmp_path), rel=1e-5, abs=1e-8)
        press(page, "undo all")
        slide(page, "share of the way in percent", 40)
        assert scores(page) == pytest.approx(python_says(page, tmp_path), rel=1e-5, abs=1e-8)


@in_browser
def test_where_the_split_is_not_known_all_pairs_are_scored(chromium, tmp_path, monkeypatch):
    [run] = train([tiny()], tmp_path)
    monkeypatch.setattr(cg.Run, "split_is_known", False)
    with page_at(chromium, address_of(report(run, tmp_path / "page.html"))) as page:
        press(page, "2")
        found = scores(page)
        assert {name for name, value in found.items() if math.isnan(value)} == {
            "train_loss", "test_loss", "train_acc", "test_acc",
        }  # fmt: skip
        said = python_says(page, ROOT)
        assert found["all_loss"] == pytest.approx(said["all_loss"], rel=1e-5)
        assert found["all_acc"] == pytest.approx(said["all_acc"])
        notes = page.locator("section.panel .note").all_inner_texts()
        assert sum("stand-in" in note for note in notes) == 1  # no accuracies; of losses there is the restricted one


@in_browser
def test_where_the_weights_lie_at_another_step_it_says_so(chromium, tmp_path):
    page_file = report(cg.load(REFERENCE), tmp_path / "one.html", weights=1)
    with page_at(chromium, address_of(page_file)) as page:
        page.locator("[role=slider]").focus()
        page.keyboard.press("Home")
        settle(page)
        notes = page.locator("section.panel .note").all_inner_texts()
        assert sum("weights: step 4\u2009000" in note for note in notes) == 4
        assert "cg.edited(run, 4000, edits)" in code(page)


@in_browser
def test_a_click_on_a_pair_shows_its_logits(chromium, reference):
    run = cg.load(REFERENCE)
    with page_at(chromium, address_of(reference)) as page:
        page.get_by_label("a", exact=True).fill("3")
        page.get_by_label("b", exact=True).fill("8")
        page.get_by_label("b", exact=True).press("Enter")
        settle(page)
        said = page.locator("section[aria-label='One pair'] .said").inner_text()
        is_train, pair = run.task.is_train, 3 * 29 + 8
        side = "trained on" if is_train[pair] else f"test, its mirror {'(b, a)' if is_train[8 * 29 + 3] else 'not'}"
        assert said.startswith(f"(3, 8) → 11: {side}")
        logits = run.config.model.logits(run.at(4000), run.task.inputs[pair : pair + 1])[0, :29].double()
        loss = float(logits.logsumexp(0) - logits[11])
        assert float(said.split("loss ")[1].split(" ")[0].replace("−", "-")) == pytest.approx(loss, rel=1e-2, abs=1e-6)
        page.locator("section[aria-label='A neuron, head or logit'] canvas").first.click(position={"x": 2, "y": 2})
        assert page.get_by_label("a", exact=True).input_value() == "0"


@in_browser
@for_each("kind", [*LEAVES, "two layers", "without ="])
def test_every_kind_of_run_has_a_page_that_computes_and_says_what_it_lacks(kind, chromium, tmp_path):
    others = {"two layers": {"n_layers": 2, "normalization": "LN"}, "without =": {"equals": False}}
    config = tiny(**others[kind]) if kind in others else tiny_kind(kind)
    [run] = train([config], tmp_path, names=["run"])
    with page_at(chromium, address_of(report(run, tmp_path / "page.html"))) as page:
        panels = page.locator("section.panel").evaluate_all("(all) => all.map((one) => one.getAttribute('aria-label'))")
        assert {"Losses", "Accuracies", "Polar path", "As Python"} <= {*panels}
        assert ("Hands on the model" in panels) == (kind != "teacher")
        assert page.locator(".not-shown:visible").count() == (kind not in others)
        if "Hands on the model" in panels:
            if kind in (*NUMBERS, *others):
                press(page, "1")
            slide(page, "change of the radius in percent", 20)
            found = scores(page)
            assert found == pytest.approx(python_says(page, tmp_path), rel=1e-5, abs=1e-8)
        page.keyboard.press("Home")


@in_browser
@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names of folders")
def test_a_wicked_name_is_shown_as_text(chromium, tmp_path):
    wicked = '"><script>window.hacked = 1<' + "img src=x onerror=hacked=1>\u202e\U0001f600é"
    [run] = train([tiny()], tmp_path, names=["plain"])
    shutil.move(run.path, tmp_path / wicked)
    runs = [cg.load(tmp_path / wicked), train([tiny(alpha=2.0)], tmp_path, names=["other"])[0]]
    with page_at(chromium, address_of(report(runs, tmp_path / "page.html"))) as page:
        assert '"><script>window.hacked' in page.locator("h1").inner_text()
        assert page.evaluate("() => [typeof hacked, document.querySelectorAll('img, h1 *').length]") == ["undefined", 0]
        press(page, "1")
        assert scores(page) == pytest.approx(python_says(page, ROOT), rel=1e-5, abs=1e-8)


@in_browser
@for_each(("width", "scheme"), SIZES)
def test_it_fits_its_window_and_its_theme(width, scheme, chromium, reference):
    with page_at(
        chromium, address_of(reference), viewport={"width": width, "height": 900}, color_scheme=scheme
    ) as page:
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        wide = """(all) => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.ariaLabel)"""
        assert page.locator("section.panel").evaluate_all(wide) == []
        light = page.locator(".cg").evaluate("(one) => getComputedStyle(one).backgroundColor.match(/\\d+/g)[0] > 128")
        assert light == (scheme == "light")


@in_browser
def test_the_keyboard_is_enough_and_its_focus_is_seen(chromium, reference):
    with page_at(chromium, address_of(reference)) as page:
        seen = set()
        for _ in range(60):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "() => [document.activeElement.tagName, document.activeElement.textContent.slice(0, 12), "
                "getComputedStyle(document.activeElement).outlineStyle]"
            )
            assert focused[2] == "solid", focused
            seen.add(focused[1])
            if focused[1] == "head 2":
                plain = scores(page)
                page.keyboard.press("Enter")
                assert scores(page) != plain
        assert {"▶ play", "by events", "undo all", "head 2", "mean"} <= seen
        page.get_by_role("button", name="copy as Python").focus()
        page.keyboard.press("Enter")
        page.get_by_role("button", name="copied").wait_for(timeout=10_000)


@in_browser
def test_print_has_all_panels_and_no_controls(chromium, reference):
    with page_at(chromium, address_of(reference)) as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert page.locator("section.panel:visible").count() == 12
        assert page.locator(".controls:visible, .tools:visible").count() == 0
        assert (
            page.locator(".panel").first.evaluate("(one) => getComputedStyle(one).backgroundColor")
            == "rgb(255, 255, 255)"
        )


@in_browser
def test_a_sweep_shows_the_runs_of_a_cell(chromium, tmp_path):
    made = sweep(tiny(), {"alpha": [0.5, 1.0], "weight_decay": [0.0, 1.0, 2.0]}, seeds=range(2), out=tmp_path / "scan")
    with page_at(chromium, address_of(report(made, tmp_path / "sweep.html"))) as page:
        assert page.locator(".cell").count() == 6
        cell = page.get_by_role("button", name="alpha 0.5, weight_decay 2")
        cell.focus()
        page.keyboard.press("Enter")
        names = page.locator("table.runs tbody th").all_inner_texts()
        table = made.table
        mine = table[(table["alpha"] == 0.5) & (table["weight_decay"] == 2.0)]
        assert names == mine["name"].tolist()
        page.get_by_label("colour").select_option("test_loss")
        page.get_by_label("across").select_option("weight_decay")
        text = page.get_by_role("button", name="alpha 0.5, weight_decay 2").locator("text").first.text_content()
        assert float(text) == pytest.approx(mine["test_loss"].median(), rel=6e-3)


MODEL = """async ([program, payload, kernel, selected]) => {
  const bytes = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const values = { payload: new DataView(bytes(payload).buffer), kernel: new DataView(bytes(kernel).buffer), selected };
  const heard = {};
  window.model = {
    get: (name) => values[name], on: (name, hear) => ((heard[name] ??= []).push(hear)), off: () => {},
    set: (name, value) => (values[name] = value), save_changes: () => (window.saved = values.selected),
    send: (message) => window.asked(JSON.stringify(message)).then((answer) => {
      if (answer) heard["msg:custom"].forEach((hear) => hear(message, [new DataView(bytes(answer).buffer)]));
    }),
    take: (value) => { values.selected = value; heard["change:selected"].forEach((hear) => hear()); },
  };
  const address = URL.createObjectURL(new Blob([program], { type: "text/javascript" }));
  const { default: widget } = await import(address);
  window.cleanUp = widget.render({ model, el: document.getElementById("cell") });
}"""


@in_browser
def test_a_widget_asks_for_weights_and_tells_what_is_selected(chromium, tmp_path):
    import base64

    run = cg.load(REFERENCE)
    content, arrays = payload([run], weights=0)
    empty = tmp_path / "cell.html"
    empty.write_text("<!doctype html><body><div id='cell'></div><i data-ready='true'></i></body>")

    def text(given: bytes) -> str:
        return base64.b64encode(given).decode()

    asked = []

    def answer(message: str) -> str:
        asked.append(json.loads(message))
        return text(packed({}, weights_of(run.at(asked[-1]["step"]))))

    with page_at(chromium, address_of(empty)) as page:
        page.expose_function("asked", answer)
        first = {"run": 0, "step": 4000, "neurons": [], "frequencies": []}
        page.evaluate(
            MODEL, [PROGRAM.read_text("utf-8"), text(packed(content, arrays)), text(KERNEL.read_bytes()), first]
        )
        page.wait_for_selector("[data-score]")
        assert asked == [{"kind": "weights", "run": 0, "step": 4000}]
        page.evaluate("() => model.take({run: 0, step: 1500, neurons: [7, 3], frequencies: [5]})")
        page.wait_for_function("() => document.querySelector('section pre').textContent.includes('(run, 1500,')")
        assert asked[-1]["step"] == 1500 and page.evaluate("() => window.saved") is None
        edits = [{"kind": "ablate", "part": "neuron 3,7"}, {"kind": "ablate", "part": "freq 5"}]
        assert scores(page)["test_loss"] == pytest.approx(cg.edited(run, 1500, edits).test_loss, rel=1e-5)
        page.locator("[role=slider]").focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_function("() => window.saved?.step === 1778")
        assert page.evaluate("() => saved") == {"run": 0, "step": 1778, "neurons": [3, 7], "frequencies": [5]}
        page.evaluate("() => cleanUp()")


def test_the_bundle_is_small_and_what_its_sources_give(tmp_path):
    assert PROGRAM.stat().st_size <= 400_000
    assert "http://" not in PROGRAM.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    esbuild = WEB / "node_modules" / ".bin" / "esbuild"
    if not esbuild.exists() or not shutil.which("node"):
        pytest.skip(f"esbuild is not there: cd {WEB.relative_to(ROOT)} && npm install")
    script = json.loads((WEB / "package.json").read_text("utf-8"))["scripts"]["build"]
    words = script.replace("--outfile=inspector.js", f"--outfile={tmp_path / 'built.js'}").split()
    subprocess.run([esbuild, *words[1:]], cwd=WEB, check=True, capture_output=True)
    assert (tmp_path / "built.js").read_bytes() == PROGRAM.read_bytes(), "run: npm run build"
