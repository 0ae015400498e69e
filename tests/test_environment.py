"""What is recorded of the surroundings that bits depend on, and what counts as different."""

import torch
from loops import for_each

from circuitgrok.store.environment import DECISIVE, blas, cpu, differences, environment


def test_every_decisive_fact_is_recorded():
    assert set(environment(1)) >= set(DECISIVE)


@for_each("key", DECISIVE)
def test_a_difference_in_any_decisive_fact_is_named_with_both_values(key):
    here = environment(1)
    there = here | {key: "another"}
    assert differences(there, here) == [f"{key} 'another' then, {here[key]!r} now"]
    assert differences(here, here) == []


def test_all_differences_are_named():
    here = environment(1)
    assert len(differences(dict.fromkeys(here, "another"), here)) == len(DECISIVE)


@for_each("key", [key for key in DECISIVE if key != "arithmetic"])
def test_a_fact_that_an_old_run_did_not_record_is_no_difference(key):
    here = environment(1)
    assert differences({k: v for k, v in here.items() if k != key}, here) == []


def test_a_run_that_recorded_no_arithmetic_has_the_first():
    here = environment(1)
    there = {key: value for key, value in here.items() if key != "arithmetic"}
    assert differences(there, here | {"arithmetic": 1}) == []
    assert differences(there, here | {"arithmetic": 7}) == ["arithmetic 1 then, 7 now"]


@for_each("key", ["python", "circuitgrok"])
def test_versions_that_decide_no_bits_are_not_compared(key):
    here = environment(1)
    assert key in here and differences(here | {key: "another"}, here) == []


@for_each(
    ("variable", "key"),
    [
        ("MKL_CBWR", "mkl_cbwr"),
        ("MKL_ENABLE_INSTRUCTIONS", "mkl_instructions"),
        ("ONEDNN_MAX_CPU_ISA", "onednn_isa"),
        ("DNNL_MAX_CPU_ISA", "onednn_isa"),
    ],
)
def test_variables_of_the_library_are_recorded_and_not_set_is_a_value(variable, key, monkeypatch):
    monkeypatch.setenv(variable, "AVX2")
    there = environment(1)
    assert there[key] == "AVX2"
    monkeypatch.delenv(variable)
    assert differences(there, environment(1)) == [f"{key} 'AVX2' then, '' now"]


def test_blas_is_named_with_its_version(monkeypatch):
    line = "Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64 architecture"
    monkeypatch.setattr(torch.__config__, "show", lambda: f"PyTorch built with:\n  - {line}\n  - OpenMP")
    assert blas() == "MKL 2024.2-Product Build 20240605"
    monkeypatch.setattr(torch.__config__, "show", lambda: "Build settings: BLAS_INFO=accelerate, BUILD_TYPE=Release")
    assert blas() == "accelerate"
    monkeypatch.setattr(torch.__config__, "show", lambda: "nothing known")
    assert blas() == ""


def test_processor_is_the_one_that_the_system_names(monkeypatch):
    written = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\nmodel name\t: X @ 2.50GHz\n\n"
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_: written + written.replace("85", "86"))
    cpu.cache_clear()
    assert cpu() == "GenuineIntel, X @ 2.50GHz, cpu family 6, model 85"
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_: (_ for _ in ()).throw(FileNotFoundError()))
    monkeypatch.setattr("platform.processor", lambda: "arm")
    cpu.cache_clear()
    assert cpu() == "arm"
    cpu.cache_clear()


def test_a_run_of_before_tables_and_onednn_differs_from_one_of_now():
    here = environment(1)
    for before in (1, 2):
        assert differences(here | {"arithmetic": before}, here) == [f"arithmetic {before} then, 3 now"]
    assert here["arithmetic"] == 3
