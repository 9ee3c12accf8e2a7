"""By the form that a model was taught, into which kinds its answers are parted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stepsight.data.ablations import Form
from stepsight.records import Trace
from stepsight.reproduce.grounds import GROUNDS, grounds_of
from stepsight.reproduce.orders import ORDERS, order_of
from stepsight.reproduce.paragraphs import PARAGRAPHS, paragraphs_of
from stepsight.reproduce.reading import reader


@dataclass(frozen=True)
class Kinds:
    """Kinds of answers: `of` says which of `all` an answer is."""

    all: tuple[str, ...]
    of: Callable[[Trace], str]


def _by_grounds(form: Form) -> Kinds:
    read = reader(form)
    return Kinds(GROUNDS, lambda trace: grounds_of(trace.question, read(trace).stages))


FORM_KEPT: Mapping[Form, Kinds] = MappingProxyType(
    {
        Form.NO_TAGS: Kinds(PARAGRAPHS, lambda trace: paragraphs_of(trace.text)),
        Form.SHUFFLED: Kinds(ORDERS, lambda trace: order_of(trace.text)),
    }
)
"""Forms that an answer may keep or not, though it can be found all the same."""

GROUNDS_OF: Mapping[Form, Kinds] = MappingProxyType(
    {form: _by_grounds(form) for form in (Form.NO_TAGS, Form.APART, Form.STAGED)}
)
"""Forms in which a REASONING stands behind its CAPTION."""
