"""What training needs beyond the core install; asked before anything heavy is imported."""

from __future__ import annotations

from importlib.util import find_spec

from stepsight.errors import MissingExtraError

PACKAGES = ("torch", "transformers", "tokenizers", "accelerate", "peft")
"""Packages of the extra `train` without which no run can begin."""


def require_training() -> None:
    """Call this before `stepsight.training.run` is imported: that module imports torch and transformers.

    Raises:
        MissingExtraError: one of `PACKAGES` is not installed.
    """
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "train")
