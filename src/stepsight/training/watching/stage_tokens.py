"""Which stage of a staged answer each of its tokens belongs to, for any tokenizer.

Tokens are decoded one by one, so it does not matter how the text was cut into tokens, nor whether a tag is one token or
many, nor whether a token holds the end of a text and the beginning of a tag.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch

from stepsight.engines.transformers.detokenising import Detokenizer
from stepsight.stages import STAGES
from stepsight.training.encoding.exchange import IGNORED
from stepsight.training.watching.watched import PARTS, Part

_OPENS = {stage.open: Part(stage.key) for stage in STAGES}
_CLOSES = {stage.close: Part(stage.key) for stage in STAGES}
_TAG = re.compile("|".join(map(re.escape, (*_OPENS, *_CLOSES))))


class StageTokens:
    """Tells parts of tokens apart, for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._detokenizer = Detokenizer(tokenizer)
        added = {int(token): kind for token, kind in tokenizer.added_tokens_decoder.items()}
        special = {token for token, kind in added.items() if kind.special} | set(tokenizer.all_special_ids)
        # A tag may have been made a special token; it is text all the same.
        self._silent = {token for token in special if token not in added or not _TAG.fullmatch(added[token].content)}

    def of_answer(self, tokens: Sequence[int]) -> list[Part]:
        """The part of each token of an answer, which begins outside every stage.

        A token belongs to what most of its characters, white space apart, are part of, and to a tag where that is in
        doubt; a token that completes no character, to what the next character is part of. Special tokens belong to the
        form.
        """
        stream = self._detokenizer.stream()
        texts = ["" if token in self._silent else stream.push(token) for token in tokens]
        whole = "".join(texts) + stream.flush()
        characters = parts_of_text(whole)
        found = []
        start = 0
        for token, text in zip(tokens, texts, strict=True):
            own = slice(start, start + max(1, len(text)))
            found.append(Part.TAGS if token in self._silent else _most(whole[own], characters[own]))
            start += len(text)
        return found

    def of_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """The places in `PARTS` of a row's labelled tokens.

        Args:
            labels: [tokens] int64; each stretch without `IGNORED` is an answer of its own.

        Returns:
            [labelled] int64, in their order; the first token of the row, which nothing predicts, is left out.
        """
        found: list[Part] = []
        for ignored, run in groupby(labels[1:].tolist(), key=lambda label: label == IGNORED):
            if not ignored:
                found += self.of_answer(list(run))
        return torch.tensor([PARTS.index(part) for part in found], dtype=torch.long)


def parts_of_text(text: str) -> list[Part]:
    """The part of each character of an answer; white space next to a tag belongs to the form."""
    found: list[Part] = []
    current = Part.OUTSIDE
    position = 0
    for match in _TAG.finditer(text):
        found += _between(text[position : match.start()], current, lead=position > 0, trail=True)
        found += [Part.TAGS] * len(match.group())
        if match.group() in _OPENS:
            current = _OPENS[match.group()]
        elif _CLOSES[match.group()] is current:
            current = Part.OUTSIDE
        position = match.end()
    return found + _between(text[position:], current, lead=position > 0, trail=False)


def _between(text: str, part: Part, *, lead: bool, trail: bool) -> list[Part]:
    """What stands between two tags; `lead` and `trail` say whether there is one before it, and behind it."""
    inner = text.strip()
    before = text.index(inner) if inner else len(text)
    behind = len(text) - before - len(inner)
    blank = Part.TAGS if lead or trail else part
    if not inner:
        return [blank] * len(text)
    return [
        *[Part.TAGS if lead else part] * before,
        *[part] * len(inner),
        *[Part.TAGS if trail else part] * behind,
    ]


def _most(text: str, parts: Sequence[Part]) -> Part:
    """The part of most characters; of a token at the very end that completes none, `outside`."""
    marked = [part for character, part in zip(text, parts, strict=True) if not character.isspace()] or list(parts)
    counts = Counter(marked)
    return max(counts, key=lambda part: (counts[part], part is Part.TAGS), default=Part.OUTSIDE)
