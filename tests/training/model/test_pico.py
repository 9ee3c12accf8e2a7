"""pico's tokenizer loses nothing, keeps the world's words whole, and its folder is an ordinary one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForImageTextToText, AutoProcessor

from stepsight.stages import STAGES, render
from stepsight.training.model.pico import build_tokenizer, save_model
from stepsight.world.drawing import draw_picture
from stepsight.world.questions import SYNONYMS
from stepsight.world.scene import CELLS, VALUES
from stepsight.world.split import pose

TOKENIZER = build_tokenizer()
SPECIAL = set(TOKENIZER.all_special_tokens)

# Surrogates are no characters; the names of special tokens are not text.
texts = st.text(st.characters(exclude_categories=["Cs"])).filter(lambda text: not any(s in text for s in SPECIAL))


def ids(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


@given(texts)
def test_any_text_comes_back(text: str) -> None:
    assert TOKENIZER.decode(ids(text)) == text


def test_staged_answers_come_back_even_without_special_tokens() -> None:
    for index in range(20):
        text = render(pose("hard", seed=8, index=index).stages)
        assert TOKENIZER.decode([*ids(text), TOKENIZER.eos_token_id], skip_special_tokens=True) == text


@pytest.mark.parametrize("space", ["", " "])
def test_words_cells_and_tags_are_single_tokens(space: str) -> None:
    words = [word for values in VALUES.values() for word in values]
    words += [synonym for synonyms in SYNONYMS.values() for synonym in synonyms] + list(CELLS)
    assert {word: len(ids(space + word)) for word in words if len(ids(space + word)) != 1} == {}
    for stage in STAGES:
        assert len(ids(stage.open)) == len(ids(stage.close)) == 1


@pytest.mark.parametrize("letter", ["A.", "B.", "C.", "D."])
def test_the_letter_of_an_option_is_the_same_token_in_question_and_answer(letter: str) -> None:
    question, answer = ids(f"left?\n{letter} 7"), ids(f"That leaves 7. {letter} 7 yes.")
    [token] = ids(letter + " x")[:1]
    assert TOKENIZER.decode([token]) == letter
    assert question[-2:] == [token, *ids(" 7")]
    assert answer[answer.index(token) :] == [token, *ids(" 7 yes.")]


def test_a_cell_is_one_token_only_where_it_stands_alone() -> None:
    assert len(ids("B5x")) > 1
    assert len(ids("B51")) > 1


def test_building_the_tokenizer_again_gives_the_same() -> None:
    assert build_tokenizer().backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_a_saved_folder_loads_as_any_other_model(tmp_path: Path, model: Any, processor: Any) -> None:
    save_model(model, processor, tmp_path)
    again: Any = AutoModelForImageTextToText.from_pretrained(tmp_path)
    again.eval()
    processors: Any = AutoProcessor
    loaded = processors.from_pretrained(tmp_path)
    assert again.dtype == torch.float32
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many cubes are there?"}]}
    prompt = loaded.apply_chat_template([turn], add_generation_prompt=True)
    assert prompt == "<|user|><image>How many cubes are there?<|end|><|assistant|>"
    picture = draw_picture(pose("test", seed=0, index=0).scene)
    mine, theirs = (
        each(text=[prompt], images=[picture], return_tensors="pt", add_special_tokens=False)
        for each in (processor, loaded)
    )
    assert torch.equal(mine["input_ids"], theirs["input_ids"])
    assert torch.equal(mine["pixel_values"], theirs["pixel_values"])
    with torch.no_grad():
        assert torch.allclose(model.eval()(**mine).logits, again(**theirs).logits, atol=1e-6)
