"""Whether a text declines to answer, by the words in which models do so.

English only. A negative answer ("no", "there is none") is no refusal, and neither is a sorry or a cannot that is said
of what the picture shows.
"""

from __future__ import annotations

import re

LOOKED_AT = 4000
"""So many characters are looked at; who declines does so at once."""

_CANNOT = "(?:cannot|can not|can't|could not|couldn't|do not|don't|must not|will not|won't|am not able to|am unable to)"
_DOING = (
    "(?:help|assist|provide|identify|recogni[sz]e|determine|answer|comply|comment|discuss|fulfil|do that"
    "|(?:see|view|access) (?:the |this |any )?(?:image|picture|photo)s?)"
)
_REFUSES = re.compile(
    r"\b(?:i|we)(?: am|'m| are|'re) (?:very |so |really )?(?:sorry|unable to|not able to)\b"
    rf"|\b(?:i|we) {_CANNOT} (?:\w+ )?{_DOING}\b"
    r"|\bi (?:must |have to |need to )?(?:decline|refuse)\b"
    r"|\bas an ai\b|^sorry\b|^(?:cannot|can't|unable to) (?:assist|help|identify|answer)\b"
    r"|^my apologies\b|^i apologi[sz]e\b",
    re.IGNORECASE,
)


def refuses(text: str) -> bool:
    """Whether a text declines to answer."""
    plain = " ".join(text[:LOOKED_AT].replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").split())
    return _REFUSES.search(plain) is not None
