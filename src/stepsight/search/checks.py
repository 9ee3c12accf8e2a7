"""What is wrong with a search before it starts."""

from __future__ import annotations

from stepsight.errors import CapabilityError, InputError
from stepsight.protocols import Engine, SearchSettings
from stepsight.records import Question


def check_settings(settings: SearchSettings) -> None:
    """Check numbers that make no sense whatever the strategy.

    Raises:
        InputError: one of them does not.
    """
    if settings.width < 1:
        raise InputError(f"the width is {settings.width}", hint="draw at least one candidate")
    if settings.max_tokens < 1:
        raise InputError(f"max_tokens is {settings.max_tokens}", hint="allow at least one token")
    if settings.answer_tokens is not None and settings.answer_tokens < 1:
        raise InputError(f"answer_tokens is {settings.answer_tokens}", hint="allow at least one token")
    if not 0 <= settings.temperature < float("inf"):
        raise InputError(f"the temperature is {settings.temperature}", hint="give 0 (greedy) or more")
    if not 0 < settings.top_p <= 1:
        raise InputError(f"top_p is {settings.top_p}", hint="give more than 0 and at most 1")
    if not 1 <= settings.survivors <= settings.width:
        raise InputError(
            f"{settings.survivors} survivors of {settings.width} candidates", hint="keep from one up to the width"
        )
    budget = settings.budget
    for name, limit in (("tokens", budget.tokens), ("seconds", budget.seconds), ("candidates", budget.candidates)):
        if limit is not None and not 0 < limit < float("inf"):
            raise InputError(f"the budget is {limit} {name}", hint=f"allow some {name}, or set no limit")
    swires = settings.swires
    if swires.captions < 1 or not 1 <= swires.kept <= swires.captions or swires.captions % swires.kept:
        raise InputError(
            f"swires cannot keep {swires.kept} of {swires.captions} captions",
            hint="keep a number that divides them: each that is kept gets captions / kept reasonings",
        )
    ours = settings.adaptive
    shares = (ours.agreement, ours.sure, ours.least)
    if min(ours.captions, ours.reasonings, ours.rounds) < 1 or not all(0 < one <= 1 for one in shares):
        raise InputError(
            "adaptive needs at least 1 caption, reasoning and round; agreement, sure and least above 0 and at most 1",
            hint="see the strategy's page",
        )
    if swires.retraces < 0 or swires.passing < 1 or swires.concluded < 1:
        raise InputError("swires needs at least 0 retraces, 1 passing and 1 concluded", hint="see the strategy's page")


def check_search(
    strategy: str, question: Question, engine: Engine, settings: SearchSettings, *, continues: bool, judged: bool
) -> None:
    """Check that a strategy can run: one that `continues` a prefix, and that has (`judged`) someone to choose.

    Raises:
        InputError: the settings make no sense together, or a judge is missing.
        CapabilityError: the engine cannot do what the strategy or the question needs.
    """
    check_settings(settings)
    if settings.width > 1 and not judged:
        raise InputError(
            f"{strategy} draws {settings.width} candidates and has no judge to choose between them",
            hint="name a judge (self, reward, written, likelihood or vote), or set the width to 1",
        )
    if continues and not engine.capabilities.prefix:
        raise CapabilityError(
            f"{strategy} continues the assistant's turn, which the engine {engine.name} cannot",
            hint="use the strategy 'best-of-n', which writes each answer in one go",
        )
    if question.images and not engine.capabilities.images:
        raise CapabilityError(
            f"question {question.id} has a picture, and the engine {engine.name} reads none",
            hint="use a vision-language model",
        )
