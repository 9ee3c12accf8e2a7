"""How much sooner a stage beam answers here than with one `generate` call per candidate; a ratio within one run.

The baseline does what the paper's released code does for candidates: each one is a `generate` call of its own that
encodes the picture and the prompt again. It asks no judge, and ours does, so the ratio understates.

    python benchmarks/search_against_generate.py --questions 10 --width 4
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from stepsight.assembly import ModelChoice, build_judge, load_model, resolve_model
from stepsight.engines.transformers.loading import load_model as load_weights
from stepsight.pictures import load_picture
from stepsight.prompts.answer import question_text
from stepsight.protocols import SearchSettings
from stepsight.records import Question
from stepsight.search import strategy
from stepsight.stages import STAGES
from stepsight.world.split import load_questions, save_split


def naive_stage_beam(model: Any, processor: Any, question: Question, width: int) -> float:
    """Seconds for four stages of `width` candidates, each by its own `generate`; the first candidate is kept."""
    content = [{"type": "image"}, {"type": "text", "text": question_text(question)}]
    prompt = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    picture = load_picture(question.images[0])
    written, started = "", time.perf_counter()
    for stage in STAGES:
        candidates = []
        for _ in range(width):
            inputs = processor(text=[prompt + written], images=[picture], return_tensors="pt").to(model.device)
            with torch.inference_mode():
                out = model.generate(
                    **inputs,
                    do_sample=True,
                    temperature=0.6,
                    top_p=0.9,
                    max_new_tokens=400,
                    stop_strings=[stage.close],
                    tokenizer=processor.tokenizer,
                )
            new = out[0, inputs["input_ids"].shape[1] :]
            candidates.append(processor.tokenizer.decode(new, skip_special_tokens=True))
        written += candidates[0]
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pico")
    parser.add_argument("--questions", type=int, default=10)
    parser.add_argument("--width", type=int, default=4)
    arguments = parser.parse_args()

    loaded = load_model(ModelChoice(arguments.model))
    search, judge = strategy("stage-beam"), build_judge("self", loaded, search="stage-beam", width=arguments.width)
    settings = SearchSettings(width=arguments.width, max_tokens=400)
    model, processor = load_weights(
        resolve_model(arguments.model), device="cpu", dtype="auto", revision=None, trust_remote_code=False
    )
    with tempfile.TemporaryDirectory() as folder:
        questions = load_questions(save_split("test", seed=17, count=arguments.questions + 1, out=Path(folder)))
        ours, naive = [], []
        for number, question in enumerate(questions):
            trace = asyncio.run(search(question, loaded.engine, judge, settings))
            seconds = naive_stage_beam(model, processor, question, arguments.width)
            if number:  # the first question warms both up
                ours.append(trace.seconds)
                naive.append(seconds)
    result = {
        "questions": arguments.questions,
        "width": arguments.width,
        "stage_beam_seconds": {"median": round(statistics.median(ours), 3), "largest": round(max(ours), 3)},
        "generate_seconds": {"median": round(statistics.median(naive), 3), "largest": round(max(naive), 3)},
        "ratio": round(sum(naive) / sum(ours), 2),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
