"""What a recipe of a dataset may say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from stepsight.data.sources.catalogue import source_named
from stepsight.errors import InputError
from stepsight.recipes import Recipe


class DataRecipe(Recipe):
    """One dataset.

    `sources` says how many rows are drawn of each source; `root` is the folder below which their files lie; `seed`
    decides which rows.
    """

    sources: dict[str, Annotated[int, Field(gt=0)]] = Field(min_length=1)
    root: Path
    seed: int = 0

    @field_validator("sources")
    @classmethod
    def _known(cls, sources: dict[str, int]) -> dict[str, int]:
        try:
            for name, count in sources.items():
                source_named(name, count=count)
        except InputError as error:
            raise ValueError(str(error)) from error
        return sources
