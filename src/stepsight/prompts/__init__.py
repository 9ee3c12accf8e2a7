"""Every text that is sent to a model, each with a version."""

from stepsight.prompts.answer import answer_turns, question_text
from stepsight.prompts.judge import JudgePrompts, judge_prompts, pair_turns, screen_turns, whole_text

__all__ = [
    "JudgePrompts",
    "answer_turns",
    "judge_prompts",
    "pair_turns",
    "question_text",
    "screen_turns",
    "whole_text",
]
