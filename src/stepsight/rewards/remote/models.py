"""The kinds of reward models, each behind `score(items) -> [(score, tokens)]` and a `scale`.

    classifier  a sequence classifier with one output, on the conversation in the model's own chat template. Or, where
                there is a `value_head.safetensors`, a vision-language model with that linear head on the last token's
                last hidden state (Skywork-VL-Reward, arXiv 2505.07263, and its model card)
    ixc         InternLM-XComposer2.5-Reward (arXiv 2501.12368, model card): its own `get_scores`
    visualprm   VisualPRM (arXiv 2503.10291, model card): its own `generate_steps_with_soft_score`, the probability of
                "+" against "-" after each step; stages are the steps

None of the released weights were run with this file: calls follow the model cards and the models' published code.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    Item = dict[str, Any]
    Scored = tuple[float, int]  # a score, and how many tokens were computed for it; 0 if that is not known

HEAD = "value_head.safetensors"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet, by which InternVL's pictures are normalised."""


class Refused(Exception):
    """Something the one who started this can mend."""


class Classifier:
    """One number from a head on the last token; one answer at a time, so that nothing is padded."""

    scale = "unbounded"

    def __init__(self, options: argparse.Namespace) -> None:
        import transformers

        self.processor = load(transformers.AutoProcessor, options)
        self.pictures = hasattr(self.processor, "image_processor")
        if not getattr(self.processor, "chat_template", None):
            raise Refused(f"{options.model} has no chat template, so nobody knows how it wants a conversation written")
        self.head: Any = None
        head = head_beside(options)
        if head:
            self.model = load_model(transformers.AutoModelForImageTextToText, options)
            self.head = value_head(head, self.model)
            return
        self.model = load_model(transformers.AutoModelForSequenceClassification, options)
        classes = self.model.config.num_labels
        if classes != 1:
            raise Refused(f"{options.model} tells {classes} classes apart; a reward is one number")

    def score(self, items: list[Item]) -> list[Scored]:
        return [self.one(item) for item in items]

    def one(self, item: Item) -> Scored:
        if item["images"] and not self.pictures:
            raise ValueError("this model takes no pictures")
        question: Any = item["question"]
        if self.pictures:
            shown = [{"type": "image", "image": image} for image in item["images"]]
            question = [*shown, {"type": "text", "text": item["question"]}]
        answer: Any = [{"type": "text", "text": item["answer"]}] if self.pictures else item["answer"]
        chat = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        if self.pictures:
            text = self.processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=False)
            inputs = self.processor(text=[text], images=item["images"] or None, return_tensors="pt")
        else:
            inputs = self.processor.apply_chat_template(
                chat, add_generation_prompt=False, tokenize=True, return_dict=True, return_tensors="pt"
            )
        inputs = inputs.to(self.model.device)
        if self.head is None:
            value = self.model(**inputs).logits[0, 0]
        else:
            hidden = self.model(**inputs, output_hidden_states=True, use_cache=False).hidden_states[-1]
            value = self.head(hidden[0, -1].float())[0]
        return float(value), int(inputs["input_ids"].shape[1])


class XComposer:
    """`get_scores(chats, images, hd_num)` of the model's own code; it wants pictures as paths."""

    scale = "unbounded"

    def __init__(self, options: argparse.Namespace) -> None:
        import transformers

        self.model = load_model(transformers.AutoModel, options, on_gpu="float16")
        self.model.tokenizer = load(transformers.AutoTokenizer, options)
        self.hd_num = options.hd_num

    def score(self, items: list[Item]) -> list[Scored]:
        import torch

        device = self.model.device.type
        half = torch.autocast("cuda", torch.float16) if device == "cuda" else contextlib.nullcontext()
        with tempfile.TemporaryDirectory() as folder, half:
            chats = [
                [{"role": "user", "content": item["question"]}, {"role": "assistant", "content": item["answer"]}]
                for item in items
            ]
            paths: list[list[str]] = [[] for _ in items]
            for number, item in enumerate(items):
                for place, image in enumerate(item["images"]):
                    paths[number].append(str(Path(folder) / f"{number}-{place}.png"))
                    image.save(paths[number][place])
            found = numbers(self.model.get_scores(chats, paths, hd_num=self.hd_num))
        if len(found) != len(items):
            raise ValueError(f"get_scores gave {len(found)} scores for {len(items)} chats")
        return [(value, 0) for value in found]


class VisualPRM:
    """A probability per step; the score is their mean, as in the paper, or the log-odds of the last step."""

    def __init__(self, options: argparse.Namespace) -> None:
        import transformers

        self.model = load_model(transformers.AutoModel, options, on_gpu="bfloat16")
        self.tokenizer = load(transformers.AutoTokenizer, options, use_fast=False)
        self.last = options.steps == "last"
        self.scale = "log-odds" if self.last else "probability"

    def score(self, items: list[Item]) -> list[Scored]:
        return [(self.one(item), 0) for item in items]

    def one(self, item: Item) -> float:
        import torch

        if "<image>" in item["question"]:
            raise ValueError("the question contains <image>, which stands for a picture here")
        # The model's code parts steps at blank lines. So a stage must hold none, or it would be several steps.
        steps = [one_step(text) for text in (item.get("stages") or {}).values()] or item["answer"].split("\n\n")
        size = self.model.config.force_image_size or self.model.config.vision_config.image_size
        views = [tiles(image, size) for image in item["images"]]
        pixels = torch.cat([pixel_values(view) for view in views]) if views else None
        scored = self.model.generate_steps_with_soft_score(
            tokenizer=self.tokenizer,
            question="<image>\n" * len(views) + item["question"],
            response="\n\n".join(steps),
            pixel_values=None if pixels is None else pixels.to(self.model.device, self.model.dtype),
            num_patches_list=[len(view) for view in views] or None,
        )
        if len(scored) != len(steps):
            raise ValueError(f"the model scored {len(scored)} steps of {len(steps)}")
        values = [float(step["score"]) for step in scored]
        return log_odds(values[-1]) if self.last else sum(values) / len(values)


KINDS = {"classifier": Classifier, "ixc": XComposer, "visualprm": VisualPRM}


def loaded(options: argparse.Namespace) -> Any:
    """The model.

    Raises:
        Refused: it cannot be loaded; the message says what to do.
    """
    allow = f"{options.model} runs code of its own; read it, then allow it with --trust-remote-code"
    if KINDS[options.kind] is not Classifier and not options.trust_remote_code:
        raise Refused(allow)
    try:
        return KINDS[options.kind](options)
    except ImportError as error:
        raise Refused(f"{sys.executable} lacks a package: {error}") from error
    except Exception as error:
        if "trust_remote_code" in str(error) and not options.trust_remote_code:
            raise Refused(allow) from error
        if "Unrecognized configuration class" in str(error):
            raise Refused(f"{options.model} is not a model of the kind {options.kind!r}") from error
        raise


def load(auto: Any, options: argparse.Namespace, **more: Any) -> Any:
    """Load a part of the model, with its own code only if that was allowed."""
    return auto.from_pretrained(
        options.model, revision=options.revision, trust_remote_code=options.trust_remote_code, **more
    )


def load_model(auto: Any, options: argparse.Namespace, on_gpu: str = "auto") -> Any:
    """Load a model for reading only. `on_gpu` is the number format there, unless one was asked for."""
    import torch
    import transformers

    device = options.device if options.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda"):
        torch.cuda.set_device(torch.device(device).index or 0)  # remote code says plainly "cuda"
    name = options.dtype if options.dtype != "auto" else on_gpu if device != "cpu" else "float32"
    renamed = tuple(int(part) for part in transformers.__version__.split(".")[:2]) >= (4, 56)
    dtype = name if name == "auto" else getattr(torch, name)
    return load(auto, options, **{"dtype" if renamed else "torch_dtype": dtype}).to(device).eval().requires_grad_(False)


def head_beside(options: argparse.Namespace) -> str | None:
    """The file of a value head that comes with the model, if there is one."""
    from transformers.utils.hub import cached_file

    if Path(options.model).is_dir():
        return str(Path(options.model) / HEAD) if (Path(options.model) / HEAD).is_file() else None
    found = cached_file(options.model, HEAD, revision=options.revision, _raise_exceptions_for_missing_entries=False)
    return str(found) if found else None


def value_head(path: str, model: Any) -> Any:
    """The linear head from hidden states to one number that `trl` saves beside a model."""
    import torch
    from safetensors.torch import load_file

    saved = {name.split("summary.")[-1]: tensor for name, tensor in load_file(path).items()}
    head = torch.nn.Linear(saved["weight"].shape[1], 1)
    head.load_state_dict(saved)
    return head.to(model.device).requires_grad_(False)  # stays in float32, as `trl` has it


def numbers(found: Any) -> list[float]:
    """A tensor, a list, a list of lists of one, or for one chat a bare number: versions of the model's code differ."""
    if hasattr(found, "tolist"):
        found = found.tolist()
    if isinstance(found, (list, tuple)):
        return [number for part in found for number in numbers(part)]
    return [float(found)]


def one_step(text: str) -> str:
    """The text of a stage without blank lines."""
    return re.sub(r"\n\s*\n", "\n", text.strip())


def log_odds(chance: float) -> float:
    """Of a probability kept from 0 and 1, between which half precision does not tell finely."""
    kept = min(max(chance, 1e-4), 1 - 1e-4)
    return math.log(kept / (1 - kept))


def tiles(picture: Any, size: int, most: int = 12) -> list[Any]:
    """What InternVL 2.5 sees of a picture: squares of the grid nearest to its shape, and if several, all of it too.

    Of equally near grids the larger one is taken if the picture has pixels for more than half of it.
    """
    width, height = picture.size
    best, nearest = (1, 1), math.inf
    grids = [(across, down) for across in range(1, most + 1) for down in range(1, most + 1) if across * down <= most]
    for across, down in sorted(grids, key=lambda grid: grid[0] * grid[1]):
        off = abs(width / height - across / down)
        if off < nearest or (off == nearest and width * height > 0.5 * size * size * across * down):
            best, nearest = (across, down), off
    across, down = best
    laid = picture.resize((across * size, down * size))
    corners = [(column * size, row * size) for row in range(down) for column in range(across)]
    cut = [laid.crop((left, top, left + size, top + size)) for left, top in corners]
    return [*cut, picture.resize((size, size))] if len(cut) > 1 else cut


def pixel_values(view: list[Any]) -> Any:
    """Squares as a tensor (squares, 3, size, size), normalised."""
    import numpy
    import torch

    pixels = torch.from_numpy(numpy.stack([numpy.asarray(tile) for tile in view])).permute(0, 3, 1, 2).float() / 255
    return (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(DEVIATION).view(1, 3, 1, 1)
