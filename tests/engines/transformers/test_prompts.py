"""Prompts: the very tokens of the library's processor, and keys that tell pictures apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.engines.transformers.test_exactness import conversations
from tests.engines.transformers.tiny import Tiny, filler_of

from stepsight.errors import InputError, PictureError
from stepsight.protocols import Turn
from stepsight.records import Piece


def test_ids_are_those_of_the_processor(tiny: Tiny, pictures: list[Path]) -> None:
    _, encoder = filler_of(tiny)
    for turns in conversations(pictures):
        assert encoder.encode(turns).ids.tolist() == tiny.inputs(turns)["input_ids"][0].tolist()


def test_keys_follow_content_not_names(tiny: Tiny, pictures: list[Path], tmp_path: Path) -> None:
    _, encoder = filler_of(tiny)
    copy = tmp_path / "copy.png"
    shutil.copy(pictures[0], copy)
    first, same, other = (
        encoder.encode((Turn("user", "What?", (path,)),)) for path in (pictures[0], copy, pictures[1])
    )
    assert np.array_equal(first.keys, same.keys)
    assert np.array_equal(first.ids, other.ids)
    assert not np.any(first.keys[first.places] == other.keys[first.places])
    elsewhere = np.setdiff1d(np.arange(len(first)), first.places)
    if first.salt:
        # Where every key-value depends on the pictures, no key may be shared.
        assert not np.any(first.keys == other.keys)
    else:
        assert np.array_equal(first.keys[elsewhere], other.keys[elsewhere])


def test_a_rewritten_file_is_read_again(llava: Tiny, pictures: list[Path], tmp_path: Path) -> None:
    _, encoder = filler_of(llava)
    path = tmp_path / "picture.png"
    shutil.copy(pictures[0], path)
    before = encoder.encode((Turn("user", "What?", (path,)),)).keys
    shutil.copy(pictures[1], path)
    assert not np.array_equal(before, encoder.encode((Turn("user", "What?", (path,)),)).keys)


def test_pieces_keep_their_ids_and_neighbours_without_ids_are_tokenised_together(llava: Tiny) -> None:
    _, encoder = filler_of(llava)
    turns = (Turn("user", "What?"),)
    start = encoder.encode(turns).ids.tolist()
    # "t", "h" are the tokens of "th" only if somebody says so.
    odd = tuple(llava.processor.tokenizer.convert_tokens_to_ids(["t", "h"]))
    kept = encoder.encode(turns, (Piece(text="th", ids=odd), Piece(text="t"), Piece(text="he"))).ids.tolist()
    [joined] = llava.processor.tokenizer("the", add_special_tokens=False)["input_ids"]
    assert kept == [*start, *odd, joined]


def test_a_placeholder_in_the_assistants_text_is_only_text(llava: Tiny, pictures: list[Path]) -> None:
    _, encoder = filler_of(llava)
    turns = (Turn("user", "What?", (pictures[0],)),)
    prompt = encoder.encode(turns, (Piece(text="an <image> here"),))
    assert len(prompt.places) == len(encoder.encode(turns).places)


def test_a_placeholder_in_a_question_is_refused(llava: Tiny, pictures: list[Path]) -> None:
    _, encoder = filler_of(llava)
    with pytest.raises(InputError, match="2 picture placeholders for 1 pictures"):
        encoder.encode((Turn("user", "What is <image>?", (pictures[0],)),))


def test_a_file_that_is_no_picture_is_named(llava: Tiny, tmp_path: Path) -> None:
    _, encoder = filler_of(llava)
    with pytest.raises(PictureError, match=r"gone\.png"):
        encoder.encode((Turn("user", "What?", (tmp_path / "gone.png",)),))
    text = tmp_path / "text.png"
    text.write_text("no picture")
    with pytest.raises(PictureError, match=r"text\.png"):
        encoder.encode((Turn("user", "What?", (text,)),))
