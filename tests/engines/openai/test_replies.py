"""Replies become completions: stop strings, reasons to end, and what was billed."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepsight.engines.openai.replies import billed, completions_of
from stepsight.errors import EngineError
from stepsight.protocols import Completion
from stepsight.records import Finish

STOP = ("</SUMMARY>",)


def choice(text: str | None, reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason, **more}


def read(*choices: dict[str, Any], generated: int = 9, logprobs: bool = False) -> tuple[Completion, ...]:
    reply = {"choices": list(choices), "usage": {"prompt_tokens": 5, "completion_tokens": generated}}
    return completions_of(reply, STOP, url="http://host/v1", logprobs=logprobs)[0]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (choice("<SUMMARY> a </SUMMARY>", stop_reason="</SUMMARY>"), "<SUMMARY> a </SUMMARY>"),
        (choice("<SUMMARY> a ", stop_reason="</SUMMARY>"), "<SUMMARY> a </SUMMARY>"),
        (choice("<SUMMARY> a ", matched_stop="</SUMMARY>"), "<SUMMARY> a </SUMMARY>"),
        # The end of the turn: told, told by its token, told by its text, or not told at all.
        (choice("<SUMMARY> a ", stop_reason=None), "<SUMMARY> a "),
        (choice("<SUMMARY> a ", matched_stop=151645), "<SUMMARY> a "),
        (choice("<SUMMARY> a ", matched_stop="<|endoftext|>"), "<SUMMARY> a "),
        (choice("<SUMMARY> a "), "<SUMMARY> a "),
        # A server that writes over its stop string.
        (choice("<SUMMARY> a </SUMMARY>\n\n<CAPTION> b", "length"), "<SUMMARY> a </SUMMARY>"),
    ],
)
def test_a_stop_string_stays_in_the_text_and_is_never_made_up(given: dict[str, Any], text: str) -> None:
    (completion,) = read(given)
    assert (completion.piece.text, completion.finish, completion.tokens) == (text, Finish.STOP, 9)


def test_the_first_of_several_stop_strings_counts() -> None:
    reply = {"choices": [choice("a. b! c")], "usage": {}}
    completions, _ = completions_of(reply, ("!", "."), url="", logprobs=False)
    assert completions[0].piece.text == "a."


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", Finish.STOP),
        ("eos_token", Finish.STOP),
        ("length", Finish.LENGTH),
        ("max_tokens", Finish.LENGTH),
        ("content_filter", Finish.ERROR),
        ("tool_calls", Finish.ERROR),
        ("abort", Finish.ERROR),
        (None, Finish.ERROR),
    ],
)
def test_reasons_to_end_are_translated_and_errors_named(
    reason: str | None, finish: Finish, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        (completion,) = read(choice("a", reason))
    assert completion.finish is finish
    assert completion.reason == ("" if finish is not Finish.ERROR else reason or "no reason given")
    assert (repr(reason) in caplog.text) == (finish is Finish.ERROR)


def test_a_refusal_and_a_reply_without_text_are_no_answers(caplog: pytest.LogCaptureFixture) -> None:
    refused = choice(None)
    refused["message"]["refusal"] = "I cannot help with that."
    (completion,) = read(refused)
    assert (completion.finish, completion.reason) == (Finish.ERROR, "refusal: I cannot help with that.")
    assert "refusal" in caplog.text
    filtered = choice("a", "content_filter", content_filter_results={"hate": {"filtered": True}})
    assert read(filtered)[0].reason == "content_filter ({'hate': {'filtered': True}})"
    assert len(read(choice("a", "x" * 999))[0].reason) < 310
    # Nothing failed in a text that reached its stop string.
    assert read(choice("<SUMMARY> a </SUMMARY> b", "abort"))[0].reason == ""
    assert read(choice(None, "length"))[0].piece.text == ""


def test_tokens_reused_are_told_apart_from_those_computed() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 80}}
    bill = billed({"usage": usage})
    assert (bill.computed, bill.cached, bill.generated) == (20, 80, 7)
    for odd in ({}, {"usage": None}, {"usage": {"prompt_tokens": 3, "prompt_tokens_details": None}}):
        assert billed(odd).cached == 0
    assert billed({"usage": {**usage, "prompt_tokens": 50}}).computed == 0


@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=6), generated=st.integers(0, 500))
def test_tokens_of_several_choices_add_up_to_the_bill(texts: list[str], generated: int) -> None:
    completions = read(*(choice(text, "length") for text in texts), generated=generated)
    assert sum(one.tokens for one in completions) == generated
    assert all(one.tokens >= 0 for one in completions)


def test_log_probabilities_are_summed_up_to_the_cut() -> None:
    steps = [{"token": token, "logprob": -1.0} for token in ("<SUMMARY>", " a ", "</SUMMARY>", "\n", "<CAPTION>")]
    cut = choice("<SUMMARY> a </SUMMARY>\n<CAPTION>", "length", logprobs={"content": steps})
    assert read(cut, logprobs=True)[0].logprob == -3.0
    whole = choice("<SUMMARY> a </SUMMARY>", logprobs={"content": [*steps[:3], {"token": "", "logprob": -1.0}]})
    assert read(whole, logprobs=True)[0].logprob == -4.0
    assert read(whole, logprobs=False)[0].logprob is None
    assert read(choice("a"), logprobs=True)[0].logprob is None


def test_choices_come_in_their_order_and_their_tokens_are_counted() -> None:
    steps = [{"token": "x", "logprob": -1.0}]
    first = choice("long text indeed", logprobs={"content": steps * 3})
    second = choice("b", logprobs={"content": steps * 6}) | {"index": 1}
    completions = read(second, first)
    assert [(one.piece.text, one.tokens) for one in completions] == [("long text indeed", 3), ("b", 6)]


@pytest.mark.parametrize("reply", [{}, {"choices": []}, {"choices": None}, {"choices": ["a"]}])
def test_a_reply_without_choices_may_be_asked_for_again(reply: dict[str, Any]) -> None:
    with pytest.raises(EngineError, match="no choices") as caught:
        completions_of(reply, STOP, url="http://host/v1", logprobs=False)
    assert caught.value.retryable
