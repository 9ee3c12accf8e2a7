"""The baseline: search by `generate`, one call per candidate and per verdict, everything encoded again each time.

It does what the released code of LLaVA-CoT does, with the same model, sampling and number of candidates: each candidate
of each stage is a `generate` call that gets picture and prompt anew; the best is found by pairwise verdicts in words,
winner against next, one order, each again a call of its own. What the release does beyond that (decoding the whole text
at each token, a second call per REASONING) is left out, so ratios against it understate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from transformers import StoppingCriteria, StoppingCriteriaList

from stepsight.prompts.answer import question_text
from stepsight.prompts.judge import JudgePrompts, pair_turns
from stepsight.records import Question
from stepsight.stages import STAGES, Stage, parse


class EndsWith(StoppingCriteria):
    """Stops when the newest tokens hold a tag; only they are decoded."""

    def __init__(self, tokenizer: Any, tag: str) -> None:
        self._tokenizer, self._tag = tokenizer, tag

    def __call__(self, input_ids: torch.Tensor, scores: Any, **options: Any) -> torch.Tensor:
        ends = [self._tag in self._tokenizer.decode(row[-12:]) for row in input_ids]
        return torch.tensor(ends, device=input_ids.device)


@dataclass
class Naive:
    """A model with its processor, and what was asked of it: `calls` of generate and new `tokens`."""

    model: Any
    processor: Any
    temperature: float = 0.6
    calls: int = 0
    tokens: int = 0

    def write(self, text: str, picture: Image.Image, written: str, *, most: int, until: str | None) -> str:
        """One `generate` call; what it wrote, the tag included."""
        content = [{"type": "image"}, {"type": "text", "text": text}]
        prompt = self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        inputs = self.processor(text=[prompt + written], images=[picture], return_tensors="pt").to(self.model.device)
        stops = StoppingCriteriaList([EndsWith(self.processor.tokenizer, until)] if until else [])
        with torch.inference_mode():
            made = self.model.generate(
                **inputs,
                do_sample=True,
                temperature=self.temperature,
                top_p=0.9,
                max_new_tokens=most,
                stopping_criteria=stops,
            )
        fresh = made[0, inputs["input_ids"].shape[1] :]
        self.calls += 1
        self.tokens += len(fresh)
        return str(self.processor.tokenizer.decode(fresh, skip_special_tokens=True))

    def stage_beam(
        self, question: Question, picture: Image.Image, prompts: JudgePrompts, *, width: int, most: int, verdict: int
    ) -> str:
        """Four stages of `width` candidates; verdicts have at most `verdict` tokens."""
        text, written = question_text(question), ""
        chosen: dict[Stage, str] = {}
        for stage in STAGES:
            best = ""
            for number in range(width):
                other = self.write(text, picture, written, most=most, until=stage.close)
                if number and best != other:
                    [turn] = pair_turns(prompts, question, stage, chosen, _inside(best, stage), _inside(other, stage))
                    reply = self.write(turn.text, picture, "", most=verdict, until=None)
                    best = other if "2" in reply else best
                elif not number:
                    best = other
            written += best
            chosen[stage] = _inside(best, stage)
        return written


def _inside(text: str, stage: Stage) -> str:
    """The text of a stage without its tags; as it is where it has none."""
    return parse(text).stages.get(stage, text).strip()
