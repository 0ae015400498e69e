"""A report is one file that fetches nothing, whatever its runs are called."""

import base64
import gzip
import os
import re
import shutil

import pytest
from tiny import tiny

from circuitgrok.config.train_config import TrainConfig
from circuitgrok.errors import UserError
from circuitgrok.faces.cli import run as command
from circuitgrok.faces.inspector.choosing import MOST
from circuitgrok.faces.inspector.packing import unpacked
from circuitgrok.faces.inspector.report import POLICY, PROGRAM, report
from circuitgrok.store.run import load
from circuitgrok.training.loop import train

WICKED = '"><script>window.hacked = 1<' + "img src=x onerror=hacked=1>"


def held(page: str) -> tuple:
    """What a page holds: plain values and arrays."""
    [text] = re.findall(r'id="circuitgrok-payload">([^<]*)<', page)
    return unpacked(gzip.decompress(base64.b64decode(text)))


def test_a_report_holds_its_run_and_allows_no_address(tmp_path):
    [run] = train([tiny()], tmp_path)
    page = report(run, tmp_path / "page.html").read_text("utf-8")
    content, arrays = held(page)
    assert content["runs"][0]["name"] == run.name and arrays["0/steps"].tolist() == run.steps
    assert f'content="{POLICY}"' in page and "default-src 'none'" in POLICY
    outside = page.replace(PROGRAM.read_text("utf-8").replace("</script", "<\\/script"), "")
    assert not re.findall(r"https?://|src=|href=|@import|url\(", outside)
    assert page == report(run, tmp_path / "again.html").read_text("utf-8")  # the same for the same


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such names of folders")
def test_a_wicked_name_is_text(tmp_path):
    [run] = train([tiny()], tmp_path, names=["plain"])
    shutil.move(run.path, tmp_path / WICKED)
    page = report(load(tmp_path / WICKED), tmp_path / "page.html").read_text("utf-8")
    assert WICKED not in page and "<img" not in page.split("<script", 1)[0]
    assert len(re.findall(r"<script", page.split('<script type="module">')[0])) == 2  # the payload and the kernel
    assert held(page)[0]["runs"][0]["name"] == WICKED


def test_the_command_writes_runs_beside_each_other_and_refuses_what_it_cannot_write(tmp_path, capsys):
    runs = train([tiny(), tiny(alpha=2.0)], tmp_path / "runs")
    out = tmp_path / "two.html"
    assert command(["report", *(str(run.path) for run in runs), "-o", str(out), "--quiet"]) == 0
    assert [one["name"] for one in held(out.read_text("utf-8"))[0]["runs"]] == [run.name for run in runs]
    assert "opens offline" in capsys.readouterr().out
    assert command(["report", str(runs[0].path), "-o", str(tmp_path / "page.txt"), "--quiet"]) == 2
    assert "ends on .html" in capsys.readouterr().err
    assert command(["report", str(runs[0].path), "-o", str(tmp_path / "none" / "page.html"), "--quiet"]) == 2
    assert command(["report", str(tmp_path / "nothing"), "--quiet"]) == 2
    assert command(["report", str(runs[0].path), "--weights", "-1", "--quiet"]) == 2


def test_a_folder_of_runs_is_written_as_their_sweep_and_one_run_as_itself(tmp_path):
    out = tmp_path / "sweep.html"
    [run] = train([tiny()], tmp_path / "one")
    assert command(["report", str(tmp_path / "one"), "--out", str(out), "--quiet"]) == 0
    assert [one["name"] for one in held(out.read_text("utf-8"))[0]["runs"]] == [run.name]
    train([tiny(), tiny(alpha=2.0)], tmp_path / "runs")
    assert command(["report", str(tmp_path / "runs"), "--out", str(out), "--quiet"]) == 0
    content, arrays = held(out.read_text("utf-8"))
    assert [field["name"] for field in content["sweep"]["fields"]] == ["alpha"]
    assert "0/test_loss" in arrays and "1/test_loss" in arrays


def test_a_path_that_is_no_page_is_refused(tmp_path):
    with pytest.raises(UserError, match="ends on .html"):
        report([], tmp_path / "x.pdf")


@pytest.mark.slow
def test_a_page_at_p_113_holds_six_checkpoints_and_less_than_ten_megabytes(tmp_path):
    config = TrainConfig.preset("nanda").with_(steps=7, checkpoint_every=1, eval_every=1, checkpoints_per_decade=0)
    [run] = train([config], tmp_path)
    page = report(run, tmp_path / "page.html")
    content, arrays = held(page.read_text("utf-8"))
    assert len(run.steps) == 8 and len(content["runs"][0]["kept"]) == 6
    by_checkpoint = [array.nbytes for array in arrays.values() if array.shape[:1] == (8,)]
    by_checkpoint.append(arrays["0/table"].nbytes)
    assert (
        page.stat().st_size + sum(by_checkpoint) * 4 / 3 / 8 * (MOST - 8) < 10_000_000
    )  # with as many as there may be
