"""Texts that ask for one thing at a time: a description of the picture, or one stage of an answer.

They are for models whose stages were trained apart (LLaVA-CoT, arXiv 2411.10440v6, Table 7). The paper does not print
its texts; these are ours. Version `tasks-1`: a published text never changes.
"""

from __future__ import annotations

from collections.abc import Mapping

from stepsight.stages import SEPARATOR, Stage, render

VERSION = "tasks-1"

DESCRIBE = "Describe the picture."
"""Asks for what a picture shows, and for no answer."""


def stage_task(question: str, earlier: Mapping[Stage, str], stage: Stage) -> str:
    """The user turn that asks for one stage of the answer to `question`, the stages before it given as text.

    Args:
        question: with its choices, as `prompts.answer.question_text` puts it.
        earlier: texts of the stages before; those that are not known are left out.
        stage: what is asked for.

    Raises:
        InputError: a text of `earlier` is blank, or holds the tag of a stage.
    """
    given = (render(earlier),) if earlier else ()
    return SEPARATOR.join((question, *given, f"Write the {stage}."))
