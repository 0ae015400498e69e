"""Packing: what is packed comes back, exact, and where a page can read it."""

import math

import numpy as np
import pytest

from circuitgrok.faces.inspector.packing import TYPES, packed, unpacked


def test_what_is_packed_comes_back_exactly():
    generator = np.random.default_rng(0)
    arrays = {
        kind: (100 * generator.standard_normal((3, 5))).astype(kind) if kind[0] == "f" else np.arange(7, dtype=kind)
        for kind in TYPES
    }
    content = {"name": "a run called “</script>”", "list": [1, 2.5, None, True], "inner": {"x": []}}
    back, found = unpacked(packed(content, arrays))
    assert back == content and list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


def test_numbers_that_json_lacks_are_null_in_values_and_stay_in_arrays():
    content, arrays = unpacked(packed({"a": math.nan, "b": [math.inf, (1.0,)]}, {"x": np.array([math.nan, math.inf])}))
    assert content == {"a": None, "b": [None, [1.0]]}
    assert np.array_equal(arrays["x"], [math.nan, math.inf], equal_nan=True)


def test_every_array_begins_where_numbers_of_eight_bytes_can():
    content = packed({"name": "é"}, {"bytes": np.arange(3, dtype=np.uint8), "numbers": np.arange(2.0)})
    ends = 4 + int.from_bytes(content[:4], "little")
    assert ends % 8 == 0 and len(content) == ends + 8 + 16
    assert np.array_equal(np.frombuffer(content, "<f8", 2, ends + 8), [0.0, 1.0])


def test_an_array_that_pages_do_not_have_is_refused():
    with pytest.raises(ValueError, match="x is int64"):
        packed({}, {"x": np.arange(3)})


def test_the_same_has_the_same_bytes_in_either_byte_order():
    assert packed({}, {"x": np.arange(3, dtype=">f4")}) == packed({}, {"x": np.arange(3, dtype="<f4")})
