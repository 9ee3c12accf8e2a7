"""The templates of real families decide what a reply is: its words and the end of turn that they write, no more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers.processors import TemplateProcessing

from stepsight.errors import InputError, ModelError
from stepsight.training.encoding.chat import written
from stepsight.training.encoding.exchange import IGNORED, Encoded, encode_conversation
from stepsight.world.lessons import Span

from .chat_templates import GEMMA, LLAMA, LLAVA, QWEN, SMOLVLM, dressed

ENDS = {"mllama": "<|eot_id|>", "qwen2.5-vl": "<|im_end|>", "gemma3": "<end_of_turn>", "smolvlm": "<end_of_utterance>"}
PROCESSORS = {
    "mllama": dressed("mllama", LLAMA),
    "qwen2.5-vl": dressed("qwen2.5-vl", QWEN),
    "gemma3": dressed("gemma3", GEMMA),
    "smolvlm": dressed("smolvlm", SMOLVLM),
}
PICTURE = Image.fromarray(np.random.default_rng(5).integers(0, 255, (24, 40, 3), dtype=np.uint8))

texts = st.text(st.characters(codec="utf-8", exclude_characters="<|"), min_size=1, max_size=20).filter(str.strip)


def encoded(
    processor: Any, exchanges: list[tuple[str, str]], picture: bool = False, system: str | None = None
) -> Encoded:
    spans = [(user, (Span(reply),)) for user, reply in exchanges]
    return encode_conversation(processor, spans, PICTURE if picture else None, system=system)


def library(processor: Any, exchanges: list[tuple[str, str]], picture: bool, system: str | None) -> list[int]:
    """Tokens of the whole conversation, by the template and the processor alone."""
    turns: list[dict[str, Any]] = [] if system is None else [{"role": "system", "content": [text_part(system)]}]
    for number, (user, reply) in enumerate(exchanges):
        shown = [{"type": "image"}] if picture and not number else []
        turns.append({"role": "user", "content": [*shown, text_part(user)]})
        turns.append({"role": "assistant", "content": [text_part(reply)]})
    text = processor.apply_chat_template(turns)
    images = [[PICTURE]] if picture else None
    made = processor(text=[text], images=images, add_special_tokens=False, return_tensors="pt")
    return [int(token) for token in made["input_ids"][0]]


def text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def runs(row: Encoded, tokenizer: Any) -> list[str]:
    """What is learned, stretch by stretch."""
    found: list[list[int]] = []
    before = IGNORED
    for label in row.labels.tolist():
        if label != IGNORED:
            found = [*found, []] if before == IGNORED else found
            found[-1].append(label)
        before = label
    return [tokenizer.decode(ids) for ids in found]


@pytest.mark.parametrize("family", PROCESSORS)
@given(exchanges=st.lists(st.tuples(texts, texts), min_size=1, max_size=3), system=st.none() | texts)
@example(exchanges=[("How many?", "Two."), ("Sure?", "Yes, two.")], system=None)
@example(exchanges=[(" a\n", "\n b "), ("  c", "d\n\n")], system="Be brief.")
@settings(max_examples=15, deadline=None)
def test_tokens_are_the_templates_and_what_is_learned_is_each_reply_with_its_end(
    family: str, exchanges: list[tuple[str, str]], system: str | None
) -> None:
    processor = PROCESSORS[family]
    stripped = [(user.strip(), reply.strip()) for user, reply in exchanges]
    row = encoded(processor, stripped, system=system)
    assert row.ids.tolist() == library(processor, stripped, False, system)
    lead = " " if family == "smolvlm" else ""
    assert runs(row, processor.tokenizer) == [lead + reply + ENDS[family] for _, reply in stripped]
    # With white space at their ends replies may be tokenised otherwise than the whole text, yet say the same.
    row = encoded(processor, exchanges, system=system)
    assert processor.tokenizer.decode(row.ids) == processor.tokenizer.decode(
        library(processor, exchanges, False, system)
    )
    kept = [reply.strip() if family == "gemma3" else reply for _, reply in exchanges]
    assert runs(row, processor.tokenizer) == [lead + reply + ENDS[family] for reply in kept]


@pytest.mark.parametrize("family", PROCESSORS)
def test_a_picture_in_the_first_turn_is_expanded_as_the_processor_does(family: str) -> None:
    processor = PROCESSORS[family]
    exchanges = [("How many?", "Two."), ("Sure?", "Yes.")]
    row = encoded(processor, exchanges, picture=True)
    assert row.ids.tolist() == library(processor, exchanges, True, None)
    assert [text.strip() for text in runs(row, processor.tokenizer)] == [f"Two.{ENDS[family]}", f"Yes.{ENDS[family]}"]
    plain = encoded(processor, exchanges)
    assert 0 == plain.pictured < row.pictured < int((row.labels != IGNORED).nonzero()[0])


def test_a_system_turn_goes_where_the_template_puts_it() -> None:
    exchanges = [("How many?", "Two.")]

    def decoded(family: str, system: str | None) -> str:
        processor = PROCESSORS[family]
        return str(processor.tokenizer.decode(encoded(processor, exchanges, system=system).ids))

    assert decoded("qwen2.5-vl", None).startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_s")
    assert decoded("qwen2.5-vl", "Be brief.").startswith("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n")
    assert decoded("gemma3", "Be brief.").startswith("<s><start_of_turn>user\nBe brief.\n\nHow many?<end_of_turn>\n")
    assert "2024\n\nBe brief.<|eot_id|>" in decoded("mllama", "Be brief.")


def test_a_template_that_refuses_a_conversation_is_quoted() -> None:
    with pytest.raises(InputError, match="incompatible with system messages"):
        encoded(PROCESSORS["mllama"], [("a", "b")], picture=True, system="Be brief.")


def test_without_an_end_of_turn_in_the_template_the_last_reply_ends_with_the_tokenizers() -> None:
    processor = dressed("llava-siglip-llama", LLAVA)
    row = encoded(processor, [("How many?", "Two."), ("Sure?", "Yes.")], picture=True)
    assert runs(row, processor.tokenizer) == [" Two.", " Yes.<|end|>"]
    text = processor.tokenizer.decode(row.ids).replace("<image>", "")
    assert text == "USER: \nHow many? ASSISTANT: Two. USER: Sure? ASSISTANT: Yes.<|end|>"


def test_what_the_tokenizer_begins_with_is_there_once_and_not_learned() -> None:
    for template, start in ((LLAVA, "<s>USER"), (GEMMA, "<s><start_of_turn>")):
        processor = dressed("llava-siglip-llama", template)
        tokenizer = processor.tokenizer
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
        )
        row = encoded(processor, [("a", "b")])
        assert tokenizer.decode(row.ids).startswith(start)
        assert row.ids.tolist().count(tokenizer.bos_token_id) == 1
        assert row.labels[0] == IGNORED


def test_a_token_that_would_lie_across_the_beginning_of_a_reply_is_parted_there() -> None:
    # The prompt ends with a space that would be one token with the reply's first word; a model that answers is given
    # the space by itself.
    processor = dressed("qwen2.5-vl", QWEN.replace("}}\n", "}} ").replace("assistant\n", "assistant "))
    tokenizer = processor.tokenizer
    row = encoded(processor, [("a", "the end")])
    first = int((row.labels != IGNORED).nonzero()[0])
    prompt = processor.apply_chat_template([{"role": "user", "content": [text_part("a")]}], add_generation_prompt=True)
    assert row.ids[:first].tolist() == tokenizer(prompt, add_special_tokens=False)["input_ids"]
    assert row.ids[:first].tolist() != library(processor, [("a", "the end")], False, None)[:first]
    assert runs(row, tokenizer) == ["the end<|im_end|>"]


def test_given_spans_are_tokenised_apart_as_they_are_when_asked_from() -> None:
    processor = PROCESSORS["qwen2.5-vl"]
    spans = (Span("th", 0.0), Span("e end", 2.0))
    row = encode_conversation(processor, [("a", spans)], None)
    assert runs(row, processor.tokenizer) == ["e end<|im_end|>"]
    assert set(row.weights.tolist()) == {0.0, 1.0, 2.0}
    assert processor.tokenizer.convert_tokens_to_ids("the") not in row.ids.tolist()
    whole = encode_conversation(processor, [("a", (Span("the end"),))], None)
    assert processor.tokenizer.convert_tokens_to_ids("the") in whole.ids.tolist()


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ messages | length }} turns", "rewrites earlier turns"),
        (QWEN.replace("{{ part['text'] }}", "{{ part['text'] | upper }}"), "rewrites what the assistant says"),
        (QWEN.replace("<|im_end|>\n{% endfor %}", " END\n{% endfor %}"), "'END' behind a reply"),
    ],
)
def test_templates_that_cannot_be_followed_are_refused(template: str, message: str) -> None:
    processor = dressed("qwen2.5-vl", template)
    with pytest.raises(ModelError, match=message):
        encoded(processor, [("a", "b"), ("c", "d")])


@pytest.mark.parametrize("where", ["user", "reply"])
def test_the_models_mark_for_pictures_in_a_text_is_refused(where: str) -> None:
    said = {"user": "a", "reply": "b"} | {where: "an <image> here"}
    with pytest.raises(InputError, match="no text may contain '<image>'"):
        encoded(PROCESSORS["qwen2.5-vl"], [(said["user"], said["reply"])], picture=True)


def test_a_blank_reply_is_an_error() -> None:
    with pytest.raises(ValueError, match="blank"):
        written(PROCESSORS["gemma3"], [("a", (Span(" "),))])
