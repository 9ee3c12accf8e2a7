"""A model as it is served: its name, how it searches unless told otherwise, and what it can be asked for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from difflib import get_close_matches

from stepsight.assembly import LoadedModel, SearchChoice, build_judge
from stepsight.errors import InputError
from stepsight.protocols import Judge
from stepsight.search import WHOLE
from stepsight.serving.methods import SEPARATOR, Method, parse_method

_FORMS = ("greedy", "best-of-n:4", "vote:8", "sentence-beam:4", "stage-beam:4", "swires", "adaptive")
_SCORING = ("reward", "likelihood")


@dataclass(frozen=True)
class ServedModel:
    """A loaded model under the name that clients ask for. `plan` is how it searches if a request says nothing."""

    name: str
    model: LoadedModel
    plan: SearchChoice = field(default_factory=SearchChoice)
    _loading: asyncio.Lock = field(default_factory=asyncio.Lock, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.name or any(mark in self.name for mark in f"{SEPARATOR}/\\") or not self.name.isprintable():
            raise InputError(f"a model cannot be served as {self.name!r}", hint="name it with --name, without @ or /")

    def planned(self, method: Method) -> SearchChoice:
        """How a request with this method searches.

        Raises:
            InputError: a number is out of range.
            CapabilityError: the judge cannot serve the strategy.
        """
        return method.applied_to(self.plan, self._judge_of(method.search or self.plan.search))

    async def judge(self, plan: SearchChoice) -> Judge | None:
        """Who chooses; a reward model is loaded when it is first asked for.

        Raises:
            StepsightError: as `build_judge`.
        """
        if plan.judge != "reward":
            return build_judge(plan.judge, self.model, search=plan.search, width=plan.settings.width)
        async with self._loading:
            return await asyncio.to_thread(
                build_judge, plan.judge, self.model, search=plan.search, width=plan.settings.width
            )

    def forms(self) -> tuple[str, ...]:
        """Names under which it can be asked for, its own first."""
        able = self.model.engine.capabilities.prefix
        forms = [form for form in _FORMS if able or form.partition(":")[0] in ("greedy", *WHOLE)]
        if not self._knows_a_cutoff:
            forms = [form for form in forms if form != "swires"]
        return (self.name, *(f"{self.name}{SEPARATOR}{form}" for form in forms))

    def _judge_of(self, search: str) -> str:
        """The judge of the server's own plan, or, for a search that has no use for that one, one that it can use."""
        own = self.plan.judge
        if search not in ("swires", "adaptive") or own in _SCORING[: 1 if search == "adaptive" else 2]:
            return own
        if self._has_reward:
            return "reward"
        return "likelihood" if search == "swires" else own

    @property
    def _has_reward(self) -> bool:
        choice = self.model.choice
        return bool(self.model.card.reward or (choice is not None and choice.reward))

    @property
    def _knows_a_cutoff(self) -> bool:
        judge = self._judge_of("swires")
        set_ = self.plan.settings.swires.cutoff is not None
        return set_ or judge in self.model.card.cutoffs or (judge == "reward" and bool(self.model.card.reward))


class Catalogue:
    """The models of a server, by name; the first is the default of nothing: clients must name one."""

    def __init__(self, models: list[ServedModel]) -> None:
        """Take the models.

        Raises:
            InputError: there is none, or two share a name.
        """
        self.models = {model.name: model for model in models}
        if not models or len(self.models) < len(models):
            raise InputError("a server needs models, each under a name of its own", hint="name them with --name")

    def find(self, asked: str) -> tuple[ServedModel, Method]:
        """The model that a request's `model` names, and the method in that name.

        Raises:
            LookupError: there is no such model; the message says which there are.
            InputError: the method cannot be read.
        """
        name, at, method = asked.partition(SEPARATOR)
        if name not in self.models:
            near = get_close_matches(name, self.models, n=1)
            known = ", ".join(self.models)
            raise LookupError(f"the model does not exist; {f'did you mean {near[0]}? ' if near else ''}known: {known}")
        return self.models[name], parse_method(method) if at else Method()

    def forms(self) -> list[str]:
        """All names under which something can be asked for."""
        return [form for model in self.models.values() for form in model.forms()]
