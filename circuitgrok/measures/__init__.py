"""Measures: pure functions from weights to numbers; `measures.table` runs them along a run."""
