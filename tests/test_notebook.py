"""The inspector in JupyterLab itself, in a real browser: it is shown, computes, and tells Python what is selected."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from browsing import browser

import circuitgrok as cg

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[1]
CELLS = (
    "import circuitgrok as cg\ninspector = cg.inspect(cg.load('reference'))\ninspector",
    "print('selected', inspector.selected)",
)


def notebook(path: Path) -> None:
    cells = [
        {"cell_type": "code", "id": f"c{i}", "source": source, "metadata": {}, "outputs": [], "execution_count": None}
        for i, source in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))


@pytest.fixture
def server(tmp_path):
    """JupyterLab in a folder with the reference run, at an address of its own."""
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed: pip install jupyterlab")
    pytest.importorskip("anywidget")
    shutil.copytree(ROOT / "checkpoints" / "reference", tmp_path / "reference")
    notebook(tmp_path / "look.ipynb")
    words = [
        "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0", f"--notebook-dir={tmp_path}",
        "--LabApp.collaborative=False", "--IdentityProvider.token=", "--ServerApp.password=",
        "--ServerApp.disable_check_xsrf=True",
    ]  # fmt: skip
    log = tmp_path / "server.log"
    surroundings = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path / "settings"), "PYTHONPATH": str(ROOT)}
    surroundings["OMP_NUM_THREADS"] = "1"  # a kernel of two threads waits for ever where the cores are taken
    with log.open("w") as file:
        process = subprocess.Popen([sys.executable, *words], stderr=file, stdout=file, cwd=tmp_path, env=surroundings)
    try:
        until = time.monotonic() + 120
        while not (found := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text())):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.2)
        yield found[0]
    finally:
        process.terminate()
        process.wait(20)


def test_it_is_shown_in_jupyterlab_and_selects_both_ways(server):
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1700, "height": 1200})
        page.goto(f"{server}lab/tree/look.ipynb")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=90_000)
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        page.wait_for_function("() => !document.querySelector('.jp-InputPrompt').textContent.includes('[ ]')")
        page.wait_for_selector(".cg [data-score]", timeout=400_000)
        run = cg.load(ROOT / "checkpoints" / "reference")
        part = page.locator(".cg section[aria-label='Hands on the model']")
        part.get_by_role("button", name="5", exact=True).click()
        loss = float(part.locator("[data-score=test_loss] td").last.get_attribute("data-value") or "nan")
        assert loss == pytest.approx(cg.ablate(run, 4000, "freq 5").test_loss, rel=1e-5)
        page.locator(".cg [role=slider]").focus()
        page.keyboard.press("ArrowLeft")
        page.wait_for_function("() => document.querySelector('.cg pre').textContent.includes('(run, 3500,')")
        page.locator(".jp-CodeCell .cm-content").last.click()
        page.keyboard.press("Shift+Enter")
        said = page.locator(".jp-OutputArea-output", has_text="selected").last
        said.wait_for(timeout=60_000)
        assert said.inner_text().strip() == ("selected {'run': 0, 'step': 3500, 'neurons': [], 'frequencies': [5]}")
        page.screenshot(path=os.environ.get("NOTEBOOK_SHOT") or os.devnull, type="png")
