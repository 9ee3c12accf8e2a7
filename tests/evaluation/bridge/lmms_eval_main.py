"""Stands in for `python -m lmms_eval` at commit 75571cfe: the same command line, variables, requests and files.

Its only tasks are `mmstar` and `ai2d`, with two questions each, whose answers are A. FAKE_KIT says what goes wrong.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import traceback
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image

MODE = os.environ.get("FAKE_KIT", "")


def pairs(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in text.split(","):
        name, _, value = one.partition("=")
        try:
            found[name] = float(value) if "." in value else int(value)
        except ValueError:
            found[name] = value
    return found


class OpenAICompatible:
    def __init__(
        self,
        model_version: str = "grok-2-latest",
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: int = 10,
        max_retries: int = 5,
        num_concurrent: int = 32,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise ValueError(f"Unknown model_args ignored: {list(kwargs)}")
        self.model, self.max_retries = model_version, max_retries
        self.base_url = base_url or os.environ["OPENAI_API_BASE"]
        self.key = api_key or os.environ["OPENAI_API_KEY"]

    def ask(self, question: str, generation: dict[str, Any]) -> str:
        stream = io.BytesIO()
        Image.new("RGB", (20, 20), "red").save(stream, os.environ.get("LMMS_IMAGE_ENCODE_FORMAT", "PNG"))
        url = "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
        body = {
            "messages": [{"role": "user", "content": content}],
            "model": self.model,
            "max_tokens": generation.get("max_new_tokens", 1024),
            "temperature": generation.get("temperature", 0),
        }
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        told = ""
        for _ in range(self.max_retries):
            try:
                request = urllib.request.Request(
                    f"{self.base_url}/chat/completions", json.dumps(body).encode(), headers
                )
                with urllib.request.urlopen(request) as reply:
                    return str(json.loads(reply.read())["choices"][0]["message"]["content"])
            except Exception as error:
                told = str(error)
        return f"[LMMS_EVAL_REQUEST_FAILED after {self.max_retries} retries] {told}"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="hf")
    parser.add_argument("--model_args", default="")
    parser.add_argument("--tasks")
    parser.add_argument("--batch_size", default="1")
    parser.add_argument("--output_path")
    parser.add_argument("--limit", type=float)
    parser.add_argument("--log_samples", action="store_true")
    parser.add_argument("--gen_kwargs", default="")
    parser.add_argument("--reasoning_tags", default='[["<think>", "</think>"]]')
    parser.add_argument("--verbosity", default="INFO")
    args = parser.parse_args()
    if MODE == "crash":
        raise RuntimeError("CUDA is not what it was")
    try:
        evaluate(args)
    except Exception as error:
        traceback.print_exc()
        print(f"Error during evaluation: {error}. Please set `--verbosity=DEBUG` to get more information.")


def evaluate(args: argparse.Namespace) -> None:
    if args.tasks not in ("mmstar", "ai2d"):
        raise ValueError(f"Tasks not found: {args.tasks}")
    assert args.model == "openai"
    model = OpenAICompatible(**pairs(args.model_args))
    # What the task has itself gives way to --gen_kwargs, key by key.
    generation = {"max_new_tokens": 16, "temperature": 0, "do_sample": False, **pairs(args.gen_kwargs)}
    count = int(args.limit or 2)
    answers = [model.ask(f"{args.tasks} {number}? Answer with the letter.", generation) for number in range(count)]
    hits = [answer.strip() == "A" for answer in answers]
    share = sum(hits) / count
    metric = "average" if args.tasks == "mmstar" else "exact_match"
    error: float | str = 0.1 if args.tasks == "ai2d" else "N/A"
    scores: dict[str, Any] = {"alias": args.tasks, f"{metric},none": share, f"{metric}_stderr,none": error}
    if args.tasks == "mmstar":
        scores |= {"math,none": 1.0, "math_stderr,none": "N/A"}
    else:
        scores |= {"submission,none": None, "submission_stderr,none": []}
    results = {"results": {args.tasks: {} if MODE == "no scores" else scores}, "git_hash": "75571cf"}
    folder = Path(args.output_path) / str(model.model).replace(":", "__")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "20261126_080000_results.json").write_text(json.dumps({**results, "lmms_eval_version": "0.7.2"}))
    if args.log_samples and MODE != "no samples":
        samples = [json.dumps({"doc_id": n, "filtered_resps": [text]}) for n, text in enumerate(answers)]
        (folder / f"20261126_080000_samples_{args.tasks}.jsonl").write_text("".join(f"{one}\n" for one in samples))


if __name__ == "__main__":
    main()
