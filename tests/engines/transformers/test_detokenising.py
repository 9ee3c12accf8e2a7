"""Text from tokens, one at a time."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engines.transformers.tiny_models import make_tokenizer
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from stepsight.engines.transformers.detokenising import Detokenizer

BYTE_LEVEL = make_tokenizer()


def _sentencepiece_like() -> PreTrainedTokenizerFast:
    """Spaces as `▁`, unknown characters as bytes: what a Llama 2 tokenizer does."""
    words = ["<unk>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "▁a", "b", "▁ab", "c"]
    merges = [("▁", "a"), ("▁a", "b")]
    vocabulary = {word: index for index, word in enumerate([*words, "a"])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens([AddedToken("</s>", special=True)])
    fast: Any = PreTrainedTokenizerFast
    made: PreTrainedTokenizerFast = fast(tokenizer_object=backend, eos_token="</s>", unk_token="<unk>")
    return made


FALLBACK = _sentencepiece_like()


def decoded(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))


@settings(deadline=None)
@given(text=st.text(max_size=30))
def test_byte_level_streams_give_the_text_and_never_half_a_character(text: str) -> None:
    text = f"<SUMMARY>{text}</SUMMARY>"
    ids = BYTE_LEVEL(text, add_special_tokens=False)["input_ids"]
    stream = Detokenizer(BYTE_LEVEL).stream()
    read = ""
    for token in ids:
        read += stream.push(token)
        assert text.startswith(read)
    assert not stream.pending
    assert read + stream.flush() == text


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, len(BYTE_LEVEL) - 1), max_size=20))
def test_byte_level_streams_give_what_the_tokenizer_decodes(ids: list[int]) -> None:
    stream = Detokenizer(BYTE_LEVEL).stream()
    text = "".join(stream.push(token) for token in ids) + stream.flush()
    # How many U+FFFD stand for a run of broken bytes differs between decoders; where they stand does not.
    assert [bit for bit in text.split("�") if bit] == [bit for bit in decoded(BYTE_LEVEL, ids).split("�") if bit]


def test_a_token_outside_the_tokenizer_says_nothing() -> None:
    assert Detokenizer(BYTE_LEVEL).token_bytes(len(BYTE_LEVEL) + 2) == b""


@settings(deadline=None)
@given(text=st.text(alphabet="ab c é日😀", max_size=20))
def test_other_tokenizers_stream_the_same_text_as_they_decode(text: str) -> None:
    ids = FALLBACK(text, add_special_tokens=False)["input_ids"]
    stream = Detokenizer(FALLBACK).stream()
    read = "".join(stream.push(token) for token in ids) + stream.flush()
    assert read == decoded(FALLBACK, ids)
