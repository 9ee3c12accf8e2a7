"""Which sources there are, by name."""

from __future__ import annotations

from stepsight.data.sources.ai2d import AI2D
from stepsight.data.sources.aokvqa import AOKVQA
from stepsight.data.sources.chartqa import ChartQA
from stepsight.data.sources.clevr import CLEVR
from stepsight.data.sources.clevr_math import CLEVRMath
from stepsight.data.sources.docvqa import DocVQA
from stepsight.data.sources.geoqa_plus import GeoQAPlus
from stepsight.data.sources.hub_folder import HubFolder
from stepsight.data.sources.llava_jsonl import LlavaJsonl
from stepsight.data.sources.parquet import Parquet
from stepsight.data.sources.pisc import PISC
from stepsight.data.sources.scienceqa import ScienceQA
from stepsight.data.sources.sharegpt4v import ShareGPT4V
from stepsight.data.sources.source import Source
from stepsight.data.sources.world import World
from stepsight.errors import InputError


def catalogue() -> dict[str, Source]:
    """Every source at its default (the training split), the paper's in its order."""
    sources: list[Source] = [
        ShareGPT4V(),
        ChartQA(),
        AOKVQA(),
        DocVQA(),
        PISC(),
        CLEVR(),
        AI2D(),
        GeoQAPlus(),
        ScienceQA(),
        CLEVRMath(),
        LlavaJsonl(),
        Parquet(),
        HubFolder(),
        World(),
    ]
    return {source.name: source for source in sources}


def source_named(name: str, *, count: int, seed: int = 0) -> Source:
    """The source of that name; of the world, which has no end, `count` questions under `seed`.

    Raises:
        InputError: there is no such source.
    """
    sources = catalogue()
    if name not in sources:
        raise InputError(f"there is no source {name!r}", hint=f"choose from {', '.join(sources)}")
    return World(count=count, seed=seed) if name == World().name else sources[name]
