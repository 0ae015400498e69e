"""The version, known also to a clone that was never installed; pyproject.toml reads it here."""

__version__ = "0.1.0"
