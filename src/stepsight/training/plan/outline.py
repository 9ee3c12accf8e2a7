"""The model of a recipe without its weights: every parameter in its place, on torch's `meta` device."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from torch import nn
from transformers import AutoConfig, AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor

from stepsight.errors import MissingExtraError, ModelError
from stepsight.recipes import load_recipe
from stepsight.training.model.pico import build_model, build_processor, build_tokenizer
from stepsight.training.model.start import recipe_that_makes
from stepsight.training.plan.records import Part
from stepsight.training.recipe.steps import Lora
from stepsight.training.recipe.train import StartFromFolder, TrainRecipe

PROJECTORS = ("merger", "deepstack_merger_list")
"""What some vision towers hold that leads from their features to the text model."""

PARTS = ("vision tower", "projector", "text model", "embeddings", "adapters")

_UNREADABLE = (OSError, ValueError, KeyError, ImportError)


@dataclass(frozen=True)
class Outline:
    """A model without weights, and what makes its rows.

    Attributes:
        name: what the recipe calls it.
        model: its parameters are on the `meta` device, its buffers are real.
        processor: of its rows, or None where there is no tokenizer.
        image_processor: of its pictures, or None.
    """

    name: str
    model: Any
    processor: Any
    image_processor: Any


def outline(recipe: TrainRecipe, recipe_path: Path, config: Path | None = None) -> Outline:
    """The model that a recipe starts from, without its weights and without network.

    Its configuration is that of `config`; of the folder it starts from, or of the recipe beside it that makes that
    folder; of the hub's cache; or of the folder beside the recipe that has the recipe's name.

    Raises:
        ModelError: none of them is there, or it is not that of a vision-language model.
    """
    model, processor, image_processor = _start(recipe, recipe_path, config)
    model.tie_weights()
    if recipe.freeze_vision:
        vision_tower(model).requires_grad_(False)
    if recipe.freeze_text:
        text_model(model).requires_grad_(False)
        model.get_output_embeddings().requires_grad_(False)
    if recipe.lora:
        with init_empty_weights(include_buffers=False):
            add_adapters(model, recipe.lora)
    name = recipe.start.folder if isinstance(recipe.start, StartFromFolder) else "a new pico"
    return Outline(name, model, processor, image_processor)


def vision_tower(model: Any) -> nn.Module:
    """The part that sees."""
    found: nn.Module = model.get_encoder(modality="image")
    return found


def text_model(model: Any) -> nn.Module:
    """The part that reads and writes: embeddings and layers, without the head."""
    found: nn.Module = model.get_decoder()
    return found


def parts_of(model: Any) -> tuple[Part, ...]:
    """The parts of a model, each with its parameters; weights that are used twice count once.

    Args:
        model: with adapters or without.
    """
    counts: dict[Any, list[int]] = {name: [0, 0] for name in PARTS}
    for name, weight in _by_part(model):
        counts[name][0] += weight.numel()
        counts[name][1] += weight.numel() if weight.requires_grad else 0
    return tuple(Part(name=name, parameters=count, trained=learn) for name, (count, learn) in counts.items() if count)


def _by_part(model: Any) -> Iterator[tuple[Any, nn.Parameter]]:
    embeddings = {id(one) for part in _embeddings(model) for one in part.parameters()}
    seen = {id(one) for one in vision_tower(model).parameters()}
    written = {id(one) for one in text_model(model).parameters()}
    for name, weight in model.named_parameters():
        if ".lora_" in name:
            yield "adapters", weight
        elif id(weight) in embeddings:
            yield "embeddings", weight
        elif id(weight) in written:
            yield "text model", weight
        elif id(weight) in seen and not set(PROJECTORS) & set(name.split(".")):
            yield "vision tower", weight
        else:
            yield "projector", weight


def _embeddings(model: Any) -> list[nn.Module]:
    return [part for part in (model.get_input_embeddings(), model.get_output_embeddings()) if part is not None]


def _start(recipe: TrainRecipe, recipe_path: Path, given: Path | None) -> tuple[Any, Any, Any]:
    """Model, processor, and processor of pictures."""
    start = recipe.start
    if not isinstance(start, StartFromFolder):
        tokenizer = build_tokenizer()
        processor: Any = build_processor(start.build, tokenizer)
        with init_empty_weights(include_buffers=False):
            return build_model(start.build, tokenizer), processor, processor.image_processor
    folder = _folder(start.folder, recipe_path, given)
    if isinstance(folder, tuple):
        model, processor, pictures = _start(*folder, None)
        return _from_config(_grown(model.config, start.grow)), processor, pictures
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    processor = _loaded(AutoProcessor, folder)
    pictures = getattr(processor, "image_processor", None) or _loaded(AutoImageProcessor, folder)
    return _from_config(_grown(config, start.grow)), processor, pictures


def _folder(source: str, recipe_path: Path, given: Path | None) -> str | tuple[TrainRecipe, Path]:
    """Where the configuration is: a folder, a hub id that is in the cache, or the recipe that makes the model."""
    if given is not None:
        if not (given / "config.json").is_file():
            raise ModelError(f"{given} has no config.json", hint="give the folder with the model's configuration")
        return str(given)
    if (Path(source) / "config.json").is_file():
        return source
    if maker := recipe_that_makes(source, recipe_path):
        return load_recipe(maker, TrainRecipe), maker
    try:
        AutoConfig.from_pretrained(source, local_files_only=True)
    except _UNREADABLE as error:
        beside = recipe_path.with_suffix("")
        if (beside / "config.json").is_file():
            return str(beside)
        raise ModelError(
            f"the configuration of {source} is neither a folder, nor in the hub's cache, nor in {beside}",
            hint="give --config FOLDER, with its config.json and preprocessor_config.json",
        ) from error
    return source


def _from_config(config: Any) -> Any:
    try:
        with init_empty_weights(include_buffers=False):
            model = AutoModelForImageTextToText.from_config(config, attn_implementation="sdpa", dtype=torch.float32)
    except _UNREADABLE as error:
        raise ModelError(
            f"no vision-language model has the configuration of type {config.model_type}: {error}",
            hint="give the configuration of an image-text-to-text model of transformers",
        ) from error
    return model


def add_adapters(model: Any, lora: Lora) -> None:
    """Put adapters on the linear layers of the text model, in place; nothing else learns then."""
    try:
        from peft import LoraConfig, get_peft_model
    except ModuleNotFoundError as error:
        raise MissingExtraError("peft", "train") from error
    text = text_model(model)
    inside = next(name for name, module in model.named_modules() if module is text)
    linear = [name for name, module in text.named_modules() if isinstance(module, nn.Linear)]
    ends = tuple(f".{end}" for end in lora.targets)
    chosen = [f"{inside}.{name}" for name in linear if not ends or f".{name}".endswith(ends)]
    config = LoraConfig(r=lora.rank, lora_alpha=int(lora.alpha), lora_dropout=lora.dropout, target_modules=chosen)
    with warnings.catch_warnings():
        # PEFT asks the library by names that the library has given up.
        warnings.simplefilter("ignore", FutureWarning)
        get_peft_model(model, config)


def _grown(config: Any, layers: int) -> Any:
    config.text_config.num_hidden_layers += layers
    return config


def _loaded(kind: Any, folder: str) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True)
    except _UNREADABLE:
        return None
