"""Stands in for run.py of VLMEvalKit at commit e8e78f05: the same command line, variables, requests and files.

It answers by asking the server for real and scores as simply as it can: an answer is right if it is the letter, or the
word, that is wanted. The variable FAKE_KIT says what goes wrong.
"""

from __future__ import annotations

import argparse
import base64
import csv
import hashlib
import io
import json
import os
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from PIL import Image

FAILED = "Failed to obtain answer via API."
HERE = Path(__file__).parent
VARIABLE = "LMUData"
MODE = os.environ.get("FAKE_KIT", "")
csv.field_size_limit(1 << 30)


def load_env() -> None:
    path = HERE / ".env"
    if path.exists():
        for line in path.read_text().splitlines():
            name, _, value = line.partition("=")
            if value:
                os.environ[name] = value


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", nargs="+")
    parser.add_argument("--model", nargs="+")
    parser.add_argument("--config")
    parser.add_argument("--work-dir", default="./outputs")
    parser.add_argument("--mode", default="all", choices=["all", "infer", "eval"])
    parser.add_argument("--api-nproc", type=int, default=32)
    parser.add_argument("--retry", type=int, default=6)
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--reuse", action="store_true")
    parser.add_argument("--judge")
    parser.add_argument("--judge-args")
    parser.add_argument("--judge-base-url")
    parser.add_argument("--judge-key")
    parser.add_argument("--judge-retry", type=int)
    return parser.parse_args()


class LMDeployAPI:
    """Its own arguments are named; all others go to the top of the body."""

    def __init__(
        self,
        model: str,
        api_base: str,
        key: str = "sk-123456",
        retry: int = 5,
        timeout: int = 120,
        verbose: bool = True,
        system_prompt: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.model, self.api_base, self.retry, self.timeout = model, api_base, retry, timeout
        self.key = os.environ.get("LMDEPLOY_API_KEY", key)
        self.system_prompt = system_prompt
        self.kwargs = {"max_tokens": 16384, "temperature": 0.0, **kwargs}

    def generate(self, picture: Image.Image, text: str) -> str:
        if picture.mode in ("RGBA", "P", "LA"):
            picture = picture.convert("RGB")
        edge = int(os.environ.get("VLMEVAL_MIN_IMAGE_EDGE", 100))
        if min(picture.size) < edge:
            factor = edge / min(picture.size)
            picture = picture.resize((int(picture.width * factor), int(picture.height * factor)))
        stream = io.BytesIO()
        picture.save(stream, format="JPEG")
        url = "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": text}]
        messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
        if self.system_prompt is not None:
            messages.insert(0, {"role": "system", "content": self.system_prompt})
        body = json.dumps({"model": self.model, "messages": messages, "n": 1, **self.kwargs}).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        answer = ""
        for _ in range(self.retry):
            try:
                request = urllib.request.Request(self.api_base, body, headers)
                with urllib.request.urlopen(request, timeout=self.timeout * 1.1) as reply:
                    answer = str(json.loads(reply.read())["choices"][0]["message"]["content"].strip())
            except Exception as error:
                print(f"{type(error)}: {error}")
                answer = FAILED
            if answer and FAILED not in answer:
                return answer
        return answer or FAILED


def dataset_of(name: str, config: dict[str, Any]) -> list[dict[str, str]]:
    if config["class"] not in ("ImageMCQDataset", "CustomMCQDataset", "ImageYORNDataset", "MathVista", "MMVet"):
        raise ValueError(f"Class {config['class']} is not supported in `vlmeval.dataset`")
    named = os.environ.get(VARIABLE, "")
    root = Path(named) if named and Path(named).exists() else Path.home() / "LMUData"
    path = root / f"{config['dataset']}.tsv"
    sums: dict[str, str] = json.loads((HERE / "md5.json").read_text())
    if config["class"] == "CustomMCQDataset":
        assert name not in sums
    elif sums[name] != hashlib.md5(path.read_bytes()).hexdigest():
        raise RuntimeError(f"The tsv file is in {root}, but the md5 does not match, will re-download")
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    pictures = {row["index"]: row["image"] for row in rows}
    rows = [row for row in rows if row["image"]]
    for row in rows:
        row["image"] = pictures.get(row["image"], row["image"])
    return rows


def prompt_of(class_: str, row: dict[str, str]) -> str:
    if "MCQ" not in class_:
        return row["question"]
    hint = f"Hint: {row['hint']}\n" if row.get("hint") else ""
    options = "".join(f"{letter}. {row[letter]}\n" for letter in "ABCD" if row.get(letter))
    ask = "Please select the correct answer from the options above. \n"
    return f"{hint}Question: {row['question']}\nOptions:\n{options}{ask}"


def write_table(path: Path, rows: list[dict[str, Any]], delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def evaluate(name: str, class_: str, rows: list[dict[str, Any]], stem: Path, judge: str) -> dict[str, float]:
    """Writes the table of scores; returns what status.json has of it."""
    if class_ in ("MathVista", "MMVet"):
        column = {"MathVista": "Task&Skill", "MMVet": "Category"}[class_]
        table = [{column: "Overall", "tot": len(rows), "acc": 50.0}, {column: "rec", "tot": 1, "acc": 25.0}]
        write_table(stem.with_name(f"{stem.name}_{judge}_score.csv"), table, ",")
        return {f"{column}=Overall|acc": 50.0}
    hits = [row["prediction"].strip(". ") == row["answer"] for row in rows]
    if class_ == "ImageYORNDataset":
        groups: list[dict[str, list[bool]]] = [{}, {}, {}]
        for row, hit in zip(rows, hits, strict=True):
            parts = row["index"].split("_")
            for group, key in zip(groups, (row["index"], parts[4], parts[5]), strict=True):
                group.setdefault(f"{row['l2-category']}_{parts[3]}_{key}", []).append(hit)
        found = [100 * sum(map(all, group.values())) / len(group) for group in groups]
        accuracies = dict(zip(("aAcc", "fAcc", "qAcc"), found, strict=True))
        write_table(stem.with_name(f"{stem.name}_score.csv"), [{"split": "Overall", **accuracies}], ",")
        return {f"split=Overall|{metric}": value for metric, value in accuracies.items()}
    if "mmbench" in name.lower():
        circles: dict[int, list[bool]] = {}
        for row, hit in zip(rows, hits, strict=True):
            circles.setdefault(int(row["index"]) % 1_000_000, []).append(hit)
        hits = [all(turns) for turns in circles.values()]
    share = sum(hits) / len(hits) + (0.25 if MODE == "liar" else 0)
    split = rows[0].get("split", "none")
    write_table(stem.with_name(f"{stem.name}_acc.csv"), [{"split": split, "Overall": share}], ",")
    return {f"split={split}|Overall": share}


def main() -> None:
    load_env()
    args = arguments()
    print(f"work dir {args.work_dir}, judge {args.judge}", flush=True)
    if MODE == "hang":
        print(f"process {os.getpid()}", flush=True)
        time.sleep(600)
    if MODE == "crash":
        raise RuntimeError("CUDA is not what it was")
    assert args.config
    assert args.data is None
    assert args.model is None
    config = json.loads(Path(args.config).read_text())
    if "MMEVAL_ROOT" in os.environ:
        args.work_dir = os.environ["MMEVAL_ROOT"]
    [(label, model_config)] = config["model"].items()
    [(name, data_config)] = config["data"].items()
    meta = Path(args.work_dir) / label
    before = sorted(meta.glob("T*"))
    folder = meta / datetime.now().strftime("T%Y%m%d-%H%M%S")
    folder.mkdir(parents=True, exist_ok=True)
    entry: dict[str, Any] = {"status": "pending"}
    status = {"commit": "e8e78f05", "argv": sys.argv, "model_name": label, "datasets": {name: entry}}
    try:
        rows = dataset_of(name, data_config)
        class_ = model_config.pop("class")
        if class_ != "LMDeployAPI":
            raise ValueError(f"Class {class_} is not supported in `vlmeval.api` or `vlmeval.vlm`")
        model = LMDeployAPI(**model_config)
        ending = os.environ.get("PRED_FORMAT", "xlsx")
        file = folder / f"{label}_{name}.{ending}"
        known: dict[str, str] = {}
        if args.reuse and before:
            with (before[-1] / file.name).open(encoding="utf-8", newline="") as stream:
                known = {row["index"]: row["prediction"] for row in csv.DictReader(stream, delimiter="\t")}
            known = {index: text for index, text in known.items() if FAILED not in text}

        def answer(row: dict[str, str]) -> str:
            if row["index"] in known:
                return known[row["index"]]
            picture = Image.open(io.BytesIO(base64.b64decode(row["image"])))
            return model.generate(picture, prompt_of(data_config["class"], row))

        with ThreadPoolExecutor(args.api_nproc) as pool:
            texts = list(pool.map(answer, rows))
        made = [
            {**{column: cell for column, cell in row.items() if column != "image"}, "prediction": text}
            for row, text in zip(rows, texts, strict=True)
        ]
        write_table(file, made, "\t")
        if MODE == "error":
            raise AssertionError("MathVista evaluation requires a working OPENAI API")
        if MODE == "skip":
            entry["skip_reason"] = "evaluate_returned_none"
        else:
            entry["metrics"] = evaluate(name, data_config["class"], made, folder / f"{label}_{name}", args.judge)
    except Exception as error:
        print(f"Model {label} x Dataset {name} combination failed: {error}, skipping this combination.")
        entry["error_message"] = str(error)
    entry["status"] = "done"
    if MODE == "no table":
        next(folder.glob("*_acc.csv")).unlink()
    if MODE != "no status":
        (folder / "status.json").write_text(json.dumps(status, indent=2))
    print("Run Summary Report:", flush=True)


if __name__ == "__main__":
    main()
