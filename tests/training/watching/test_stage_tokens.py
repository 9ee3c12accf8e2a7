"""Every token of an answer is told its stage, whatever the tokenizer makes of tags and texts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from stepsight.stages import STAGES, Stage, render
from stepsight.training.encoding.exchange import IGNORED, encode_conversation
from stepsight.training.watching.stage_tokens import StageTokens, parts_of_text
from stepsight.training.watching.watched import PARTS, Part
from stepsight.world.lessons import Span

TEXTS = {
    Stage.SUMMARY: "I will count the cubes.",
    Stage.CAPTION: "Two cubes, größer als 3 cm, 大 < 小.",
    Stage.REASONING: "1 + 1 = 2.",
    Stage.CONCLUSION: "2",
}

_FAST: Any = PreTrainedTokenizerFast


def byte_level(vocabulary: int) -> Any:
    """A byte-level tokenizer that has never seen a tag; with few tokens every character is several."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([render(TEXTS), "cube.</ cubes.</"] * 4, trainer)
    return _FAST(tokenizer_object=tokenizer, eos_token="<|end|>")


def sentencepiece_like() -> Any:
    """Spaces belong to the words behind them, and what is unknown falls into bytes, as in Llama 2 and Gemma."""
    words = sorted({word for text in TEXTS.values() for word in text.replace(" ", " ▁").split()})
    tokens = ["<unk>", "<|end|>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *words, *map(chr, range(33, 127))]
    pieces = dict.fromkeys(tokens)
    tokenizer = Tokenizer(models.BPE({piece: place for place, piece in enumerate(pieces)}, [], byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken("<|end|>", special=True)])
    return _FAST(tokenizer_object=tokenizer, eos_token="<|end|>", unk_token="<unk>")


@pytest.fixture(params=["bytes", "merged", "sentencepiece", "pico", "tags are special"])
def tokenizer(request: pytest.FixtureRequest, processor: Any) -> Any:
    if request.param == "tags are special":
        made = byte_level(300)
        tags = [tag for stage in STAGES for tag in (stage.open, stage.close)]
        made.add_special_tokens({"additional_special_tokens": tags})
        return made
    kinds = {"bytes": lambda: byte_level(257), "merged": lambda: byte_level(420), "sentencepiece": sentencepiece_like}
    return processor.tokenizer if request.param == "pico" else kinds[request.param]()


def tokens_of(tokenizer: Any, text: str) -> list[int]:
    return [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def test_each_stage_gets_its_own_text(tokenizer: Any) -> None:
    tokens = tokens_of(tokenizer, render(TEXTS))
    parts = StageTokens(tokenizer).of_answer(tokens)
    assert len(parts) == len(tokens)
    assert parts[-1] is Part.TAGS
    assert Part.OUTSIDE not in parts
    for stage, text in TEXTS.items():
        own = [token for token, part in zip(tokens, parts, strict=True) if part is Part(stage.key)]
        assert tokenizer.decode(own).strip() == text
    form = [token for token, part in zip(tokens, parts, strict=True) if part is Part.TAGS]
    written = tokenizer.decode(form[:-1]).split()
    assert "".join(written) == "".join(tag for stage in STAGES for tag in (stage.open, stage.close))


def test_an_answer_that_is_not_staged_is_outside(tokenizer: Any) -> None:
    parts = StageTokens(tokenizer).of_answer(tokens_of(tokenizer, "2 cubes, 大"))
    assert set(parts[:-1]) == {Part.OUTSIDE}
    assert parts[-1] is Part.TAGS


def test_a_token_that_is_half_text_and_half_tag_goes_with_the_greater_half() -> None:
    tokenizer = byte_level(600)
    pieces = [tokenizer.decode([token]) for token in range(len(tokenizer))]
    assert ".</" in pieces, "the tokenizer was made to merge a full stop with the beginning of a tag"
    text = "<CAPTION>cube.</CAPTION>"
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    parts = StageTokens(tokenizer).of_answer(tokens)
    told = {tokenizer.decode([token]): part for token, part in zip(tokens, parts, strict=True)}
    assert told[".</"] is Part.TAGS


def test_malformed_answers_are_told_apart_too() -> None:
    text = "So: <SUMMARY> a <CAPTION> b </SUMMARY> c </CAPTION> d"
    told = {character: part for character, part in zip(text, parts_of_text(text), strict=True) if character in "abcd"}
    # An opening tag ends the stage before it; a closing tag that does not fit is dropped.
    assert told == {"a": Part.SUMMARY, "b": Part.CAPTION, "c": Part.CAPTION, "d": Part.OUTSIDE}


@given(st.lists(st.sampled_from(["<SUMMARY>", "</SUMMARY>", "<CAPTION>", "</CAPTION>", "a", " ", "\n", "<", ""])))
def test_every_character_has_a_part(pieces: list[str]) -> None:
    assert len(parts_of_text("".join(pieces))) == len("".join(pieces))


def test_labels_of_several_turns_are_answers_of_their_own(processor: Any) -> None:
    reply = render(TEXTS)
    exchanges = [("one?", (Span(reply),)), ("two?", (Span("<SUMMARY> x", 1.0), Span(" y"))), ("three?", (Span("z"),))]
    row = encode_conversation(processor, exchanges, None)
    places = StageTokens(processor.tokenizer).of_labels(row.labels)
    assert len(places) == int((row.labels[1:] != IGNORED).sum())
    told = [PARTS[place] for place in places.tolist()]
    # The second answer is not closed; the third begins outside all the same, and its end is form.
    assert told[-2:] == [Part.OUTSIDE, Part.TAGS]
    assert told[-6:-2] == [Part.TAGS, Part.SUMMARY, Part.SUMMARY, Part.TAGS]
    assert StageTokens(processor.tokenizer).of_labels(torch.full((4,), IGNORED)).tolist() == []
