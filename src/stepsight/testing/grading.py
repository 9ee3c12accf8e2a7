"""A grader without a model: it looks for words, which is enough to test what is done with its replies."""

from __future__ import annotations

import re

from stepsight.prompts.grading import asked_in


def graded(text: str) -> str | None:
    """The reply to a question about an answer (`prompts.grading`); None if that is not what is asked.

    option: the only option whose text or letter occurs in the answer. yes_no: the word that is in it. value: its last
    number. grade: the share of the parts of the correct answer that occur in it.
    """
    asked = asked_in(text)
    if asked is None:
        return None
    kind, parts = asked
    said = parts["prediction"]
    words = set(re.findall(r"[\w-]+", said.lower()))
    if kind == "yes_no":
        found = [word for word in ("yes", "no") if word in words]
        return found[0] if len(found) == 1 else "unknown"
    if kind == "value":
        numbers = re.findall(r"-?\d+(?:\.\d+)?", said)
        return numbers[-1] if numbers else "none given"
    if kind == "grade":
        return f"{max(_share(one, said) for one in parts['answer'].split('<OR>')):.1f}"
    options = re.findall(r"^([A-Z])\. (.*)$", parts["options"], re.MULTILINE)
    meant = [letter for letter, option in options if option.lower() in said.lower()]
    meant = meant or [letter for letter, _ in options if re.search(rf"\b{letter}\b", said)]
    return meant[0] if len(meant) == 1 else "Z"


def _share(answer: str, said: str) -> float:
    parts = [part.strip().lower() for part in answer.split("<AND>")]
    return sum(part in said.lower() for part in parts) / len(parts)
