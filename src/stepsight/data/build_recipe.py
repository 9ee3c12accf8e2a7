"""A build as a checked recipe: how the teacher is asked, what is let pass, what tokens cost."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from stepsight.data.filters import FilterSettings
from stepsight.data.prices import Prices
from stepsight.data.teaching import TeachingSettings
from stepsight.prompts.teacher import teacher_prompts
from stepsight.recipes import Recipe


class BuildRecipe(Recipe):
    """All that decides what a build makes of its questions, but the questions and the server.

    judge: who reads conclusions of which the rules cannot tell whether they say the known answer; `teacher` is the
    teacher itself, shown neither the picture nor its own reasoning. window: how many questions are under way at most;
    the engine decides how many of them are being asked.
    """

    teaching: TeachingSettings = TeachingSettings()
    filters: FilterSettings = FilterSettings()
    prices: Prices = Prices()
    judge: Literal["none", "teacher"] = "teacher"
    window: int = Field(default=64, ge=1)

    def card(self, engine: str) -> dict[str, Any]:
        """What run this is: all that could change an output row. Prices and the window could not."""
        prompts = teacher_prompts(self.teaching.prompts)
        kept = self.model_dump(mode="json", include={"teaching", "filters", "judge"})
        return {**kept, "teacher": engine, "prompts": prompts.digest}
