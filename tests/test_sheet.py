"""The acceptance sheet: bands and words at their edges, what is kept, what is printed; rows on planted things."""

import math
from pathlib import Path
from typing import Any

from loops import for_each

from circuitgrok.study.sheet import (
    Band,
    Kept,
    NotTried,
    Row,
    about,
    as_markdown,
    at_least,
    at_most,
    by_factor,
    counted,
    got,
    over_seeds,
    tried,
    untried,
)

ROOT = Path(__file__).parents[1]


BAND = about(1, 0.1, "a judgement")


def row(value: float = 1.0, band: Band = BAND, name: str = "R1 one", **changed: Any) -> Row[Any]:
    facts = {"what": "one", "source": "nobody", "expected": "1"} | changed
    return Row(name, **facts, band=band, how=lambda given: got(value))


@for_each(
    ("band", "inside", "outside"),
    [
        (about(2, 0.5, ""), [1.5, 2, 2.5], [1.49, 2.51]),
        (by_factor(100, 2, ""), [50, 200], [49, 201]),
        (at_least(1, ""), [1, math.inf], [0.99, -math.inf]),
        (at_most(1, ""), [1, -math.inf], [1.01, math.inf]),
        (about(3, 0, ""), [3], [3 + 1e-12]),
    ],
)
def test_ends_belong_to_a_band_and_nan_to_none(band, inside, outside):
    assert all(band.has(value) for value in inside)
    assert not any(band.has(value) for value in [*outside, math.nan])


def test_a_median_of_times_that_were_not_reached_is_outside_a_band_about_a_time():
    found = over_seeds([100.0, math.inf, math.inf])
    assert found.value == math.inf and (found.low, found.high, found.n) == (100.0, math.inf, 3)
    assert not about(100, 50, "").has(found.value)
    assert over_seeds([1.0, 2.0, math.inf]).value == 2


def test_three_words_and_only_those():
    def missing(given):
        raise NotTried("needs a file")

    lines = [tried(row(value), None, "abc") for value in (1.0, 2.0, math.nan)]
    lines.append(tried(Row("R2 two", "two", "nobody", "2", about(2, 0, "exact"), missing), None, "abc"))
    assert [line.word for line in lines] == ["within", "outside", "outside", "not tried"]
    assert lines[3].got == lines[3].commit == "" and lines[3].said == "needs a file"
    assert counted(lines) == "1 within, 2 outside, 1 not tried"


def test_lines_come_back_from_the_file_and_those_of_changed_rows_do_not(tmp_path):
    kept, one = Kept(tmp_path / "out" / "table.csv"), row(expected='a "comma", or\ttwo | three')
    line = tried(one, None, "abc")
    kept.add(line)
    again = Kept(tmp_path / "out" / "table.csv")
    assert again.line_of(one) == line
    changed = [
        row(band=about(1, 0.2, "a judgement")), row(band=about(1, 0.1, "exact")), row(source="somebody"),
        row(what="two"), row(expected="2"), row(name="R2"),
    ]  # fmt: skip
    assert [again.line_of(other) for other in changed] == [None] * 6
    again.write([])
    assert Kept(tmp_path / "out" / "table.csv").lines == {}


def test_the_page_lists_what_was_not_tried_by_its_reason():
    lines = [tried(row(), None, "abc"), *(untried(row(name=name), "needs a file") for name in ("R2", "R3"))]
    page = as_markdown({"First": lines, "Second": [untried(row(name="R4"), "needs hours")]})
    assert page.count("* not tried") == 2 and "R2 (one: 1); R3 (one: 1)." in page
    assert page.count("| R1 one |") == 1 and page.index("## First") < page.index("## Second")
    assert "| row |" not in page[page.index("## Second") :]
