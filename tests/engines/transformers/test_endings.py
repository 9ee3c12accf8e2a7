"""How continuations end: stop strings, end of turn, length; and what is streamed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.engines.transformers.tiny import Tiny

from stepsight.engines.transformers import TransformersEngine
from stepsight.engines.transformers.forward import Runner
from stepsight.engines.transformers.slots import Slots
from stepsight.errors import InputError
from stepsight.protocols import Completion, SampleRequest, ScoreRequest, Turn
from stepsight.records import Finish, Piece

TURNS = (Turn("user", "Say it."),)


class Puppet:
    """Makes the model say a given text: the head is replaced, everything else is real."""

    def __init__(self, tiny: Tiny, ids: list[int], patch: pytest.MonkeyPatch) -> None:
        start = tiny.inputs(TURNS)["input_ids"].shape[1]
        size = tiny.model.config.text_config.vocab_size
        positions: list[int] = []
        run, step = Runner.run, Runner.step

        def listen_run(self: Runner, slots: Slots, suffixes: Any, starts: Any, prompts: Any, **options: Any) -> Any:
            positions[:] = [begin + len(suffix) - 1 for begin, suffix in zip(starts, suffixes, strict=True)]
            return run(self, slots, suffixes, starts, prompts, **options)

        def listen_step(self: Runner, slots: Slots, prompts: Any, fed: Any, lengths: Any) -> torch.Tensor:
            pairs = zip(lengths, fed, strict=True)
            positions[:] = [length + ahead for length, row in pairs for ahead in range(len(row))]
            return step(self, slots, prompts, fed, lengths)

        def speak(self: Runner, hidden: torch.Tensor) -> torch.Tensor:
            logits = torch.full((len(hidden), size), -30.0)
            for row, position in enumerate(positions):
                logits[row, ids[min(position - start + 1, len(ids) - 1)]] = 0.0
            return logits

        patch.setattr(Runner, "run", listen_run)
        patch.setattr(Runner, "step", listen_step)
        patch.setattr(Runner, "logits", speak)


@pytest.fixture
def say(llava: Tiny, llava_engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Let the model say tokens and give the completion, with what was streamed."""

    async def run(ids: list[int], **options: Any) -> tuple[Completion, list[str]]:
        Puppet(llava, ids, monkeypatch)
        heard: list[str] = []
        request = SampleRequest(TURNS, seeds=(0,), **options)
        result = await llava_engine.sample(request, lambda slot, text: heard.append(text))
        return result.completions[0], heard

    return run


def tokens(tiny: Tiny, text: str) -> list[int]:
    return list(tiny.processor.tokenizer(text, add_special_tokens=False)["input_ids"])


async def test_a_stop_string_spans_tokens_and_stays(llava: Tiny, say: Callable[..., Any]) -> None:
    ids = tokens(llava, "one STOP two")
    completion, heard = await say(ids, stop=("XYZ", "STOP"), max_tokens=50)
    assert completion.piece.text == "one STOP"
    assert completion.finish is Finish.STOP
    assert completion.piece.ids == tuple(tokens(llava, "one STOP"))
    assert completion.tokens == len(completion.piece.ids) > 4
    assert "".join(heard) == "one STOP"
    assert completion.logprob == pytest.approx(0.0, abs=1e-3)


async def test_a_stop_inside_a_token_cuts_the_text_and_gives_up_the_ids(llava: Tiny, say: Callable[..., Any]) -> None:
    ids = tokens(llava, "x the y")
    assert "Ġthe" in llava.processor.tokenizer.convert_ids_to_tokens(ids)
    completion, heard = await say(ids, stop=(" t",), max_tokens=50)
    assert completion.piece == Piece(text="x t")
    assert completion.tokens == 2
    assert "".join(heard) == "x t"


async def test_a_closing_tag_that_is_one_token_stops(llava: Tiny, say: Callable[..., Any]) -> None:
    ids = tokens(llava, "<SUMMARY>a</SUMMARY>\n\n<CAPTION>")
    completion, _ = await say(ids, stop=("</SUMMARY>",), max_tokens=50)
    assert completion.piece == Piece(text="<SUMMARY>a</SUMMARY>", ids=tuple(ids[:3]))


async def test_the_end_of_turn_ends_and_is_no_text(llava: Tiny, say: Callable[..., Any]) -> None:
    ids = [*tokens(llava, "done"), llava.processor.tokenizer.eos_token_id, *tokens(llava, "more")]
    completion, heard = await say(ids, stop=("more",), max_tokens=50)
    assert completion.piece == Piece(text="done", ids=tuple(tokens(llava, "done")))
    assert completion.finish is Finish.STOP
    assert completion.tokens == len(tokens(llava, "done")) + 1
    assert "".join(heard) == "done"


async def test_characters_of_several_tokens_are_streamed_whole(llava: Tiny, say: Callable[..., Any]) -> None:
    text = "é日😀."
    completion, heard = await say(tokens(llava, text), stop=(".",), max_tokens=50)
    assert completion.piece.text == text
    assert heard == ["é", "日", "😀", "."]


async def test_length_ends_at_max_tokens_even_inside_a_character(llava: Tiny, say: Callable[..., Any]) -> None:
    ids = tokens(llava, "a😀")
    completion, heard = await say(ids, max_tokens=3)
    assert completion.finish is Finish.LENGTH
    assert completion.piece == Piece(text="a�", ids=tuple(ids[:3]))
    assert "".join(heard) == "a�"


async def test_the_context_limit_ends_a_continuation(llava: Tiny, llava_engine: TransformersEngine) -> None:
    limit = llava.model.config.text_config.max_position_embeddings
    turns = (Turn("user", "x" * (limit - 20)),)
    size = llava.inputs(turns)["input_ids"].shape[1]
    result = await llava_engine.sample(SampleRequest(turns, seeds=tuple(range(6)), max_tokens=100))
    longest = max(result.completions, key=lambda completion: completion.tokens)
    assert longest.finish is Finish.LENGTH
    assert longest.tokens == limit - size
    with pytest.raises(InputError, match="tokens; the model holds"):
        await llava_engine.sample(SampleRequest((Turn("user", "x" * limit),), seeds=(1,)))
    with pytest.raises(InputError, match="tokens; the model holds"):
        await llava_engine.score([ScoreRequest((Turn("user", "x" * limit),), ("1", "2"))])


@pytest.mark.parametrize(
    "options", [{"max_tokens": 0}, {"temperature": -0.1}, {"top_p": 0.0}, {"top_p": 1.1}, {"stop": ("",)}]
)
async def test_requests_that_make_no_sense_are_refused(
    llava_engine: TransformersEngine, options: dict[str, Any]
) -> None:
    with pytest.raises(InputError):
        await llava_engine.sample(SampleRequest(TURNS, seeds=(1,), **options))


async def test_nothing_asked_nothing_done(llava_engine: TransformersEngine) -> None:
    assert (await llava_engine.sample(SampleRequest(TURNS, seeds=()))).completions == ()
    assert await llava_engine.score([]) == []
    for options in ((), ("1", "")):
        with pytest.raises(InputError, match="options"):
            await llava_engine.score([ScoreRequest(TURNS, options)])


async def test_no_sampled_token_lies_outside_the_nucleus(
    llava: Tiny, llava_engine: TransformersEngine, pictures: list[Path]
) -> None:
    turns = (Turn("user", "What?", (pictures[0],)),)
    request = SampleRequest(turns, seeds=tuple(range(8)), max_tokens=12, temperature=0.8, top_p=0.5)
    for completion in (await llava_engine.sample(request)).completions:
        ids = completion.piece.ids
        assert ids
        for logits, token in zip(llava.logits(turns, ids), ids, strict=False):
            probabilities = (logits / 0.8).softmax(-1)
            assert float(probabilities[probabilities > probabilities[token]].sum()) < 0.5 + 1e-4
