"""Where a run starts: its processor and model, checked before anything is computed."""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from stepsight.errors import ModelError, StepsightError
from stepsight.recipes import load_recipe
from stepsight.training.encoding.families import check_trainable
from stepsight.training.model.pico import build_model, build_processor, build_tokenizer
from stepsight.training.recipe.train import StartFromFolder, TrainRecipe
from stepsight.world.scene import GRID

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def start_processor(recipe: TrainRecipe, recipe_path: Path) -> Any:
    """The processor of the model that the run starts from.

    Args:
        recipe: what to run.
        recipe_path: its file; if the start folder is missing, a recipe beside it may be the one that makes it.

    Raises:
        ModelError: there is no such model, its family cannot be trained exactly, or it has no chat template.
    """
    if not isinstance(recipe.start, StartFromFolder):
        return build_processor(recipe.start.build, build_tokenizer())
    source = recipe.start.folder
    _check_folder(source, recipe_path)
    try:
        check_trainable(AutoConfig.from_pretrained(source))
        processor = AutoProcessor.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"no processor can be loaded from {source}: {error}", hint="give a whole model folder"
        ) from error
    if not getattr(processor, "chat_template", None) or not hasattr(processor, "image_processor"):
        raise ModelError(
            f"{source} has no chat template or no image processor", hint="start from an instruction-tuned vision model"
        )
    return processor


def start_type(recipe: TrainRecipe) -> str:
    """The type of the model that the run starts from, as its configuration names it.

    Raises:
        ModelError: the configuration cannot be read.
    """
    if not isinstance(recipe.start, StartFromFolder):
        return "llava"
    source = recipe.start.folder
    try:
        return str(AutoConfig.from_pretrained(source).model_type)
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(
            f"no model can be loaded from {source}: {error}", hint="give a vision-language model"
        ) from error


def start_model(recipe: TrainRecipe, processor: Any) -> Any:
    """The model that the run starts from, in float32; a new one has weights drawn from torch's current seed.

    Raises:
        ModelError: the folder's weights cannot be loaded, or its patches are not the grid's cells (`align` only).
    """
    if isinstance(recipe.start, StartFromFolder):
        source = recipe.start.folder
        try:
            model: Any = AutoModelForImageTextToText.from_pretrained(
                source, dtype=torch.float32, attn_implementation="sdpa"
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"no model can be loaded from {source}: {error}", hint="give a vision-language model"
            ) from error
        if recipe.start.grow:
            model = grow_model(model, recipe.start.grow)
    else:
        model = build_model(recipe.start.build, processor.tokenizer)
    if recipe.task == "align":
        vision = model.config.vision_config
        if vision.image_size != GRID * vision.patch_size:
            raise ModelError(
                f"align needs {GRID} x {GRID} patches; this model has patches of {vision.patch_size} pixels "
                f"in pictures of {vision.image_size}",
                hint=f"set picture to {GRID} times patch",
            )
    return model


def grow_model(model: Any, layers: int) -> Any:
    """The same model with new layers on top of its text model, which add nothing yet: its outputs stay as they are.

    A layer adds what its attention and its feed-forward part project back; both projections start as zeros.

    Args:
        model: an image-text-to-text model whose text model is built like Llama's.
        layers: how many.

    Raises:
        ModelError: the text model is built otherwise.
    """
    config = deepcopy(model.config)
    old = config.text_config.num_hidden_layers
    config.text_config.num_hidden_layers = old + layers
    grown = type(model)(config)
    try:
        for layer in grown.model.language_model.layers[old:]:
            torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
            torch.nn.init.zeros_(layer.mlp.down_proj.weight)
    except AttributeError as error:
        raise ModelError(
            f"{type(model).__name__} cannot grow: its text model is not built like Llama's", hint="leave `grow` out"
        ) from error
    report = grown.load_state_dict(model.state_dict(), strict=False)
    if report.unexpected_keys:
        raise ModelError(f"{type(model).__name__} cannot grow: weights change their names", hint="leave `grow` out")
    grown.generation_config = model.generation_config
    return grown


def _check_folder(source: str, recipe_path: Path) -> None:
    folder = Path(source)
    if (folder / "config.json").is_file():
        return
    if folder.is_dir():
        raise ModelError(f"{source} holds no model: config.json is missing", hint=_maker(source, recipe_path))
    maker = _maker(source, recipe_path)
    if "stepsight train" in maker or not _HUB_ID.fullmatch(source):
        raise ModelError(f"there is no model folder {source}", hint=maker)


def recipe_that_makes(source: str, recipe_path: Path) -> Path | None:
    """The recipe that makes a model folder: one beside the given recipe, or in another folder of `recipes`."""
    beside = sorted(recipe_path.parent.glob("*.yaml"))
    folders = recipe_path.absolute().parent.parent
    others = sorted(folders.glob("*/*.yaml")) if folders.name == "recipes" else []
    for other in (*beside, *others):
        try:
            made = load_recipe(other, TrainRecipe).out / "model"
        except StepsightError:
            continue
        if made.resolve() == Path(source).resolve():
            return other
    return None


def _maker(source: str, recipe_path: Path) -> str:
    """Which recipe beside this one makes the model, as the next step to take."""
    maker = recipe_that_makes(source, recipe_path)
    return f"make it first: stepsight train {maker}" if maker else "give a model folder or a hub id"
