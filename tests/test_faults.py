"""No corruption of a finished run goes unseen, by the doctor or by whoever reads the file."""

from collections import Counter

import pytest
from faults.corrupt import KINDS, attack, group


@pytest.mark.parametrize("count", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_every_corruption_is_found_by_the_doctor_and_by_the_reader(tmp_path, count):
    found = attack(tmp_path, count, seed=count)
    assert len(found) == count
    assert [one for one in found if one[1] != (True, True, "")] == []
    kinds, groups = Counter(one.kind for one, _ in found), Counter(group(one.file) for one, _ in found)
    assert set(kinds) == set(KINDS) and len(groups) == 19
