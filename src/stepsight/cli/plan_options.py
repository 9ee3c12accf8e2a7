"""The options that say what a run is planned for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from stepsight.training.plan.records import PlanChoice

_PLAN = "Plan"


def choose_plan(
    *,
    devices: Annotated[
        int | None, typer.Option(help="So many devices; 8 where the recipe shards.", min=1, rich_help_panel=_PLAN)
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Such as h100, a100, l4; cpu measures a step on this machine.", rich_help_panel=_PLAN),
    ] = None,
    utilisation: Annotated[
        float, typer.Option(help="The share of a device's peak that is reached.", max=1.0, rich_help_panel=_PLAN)
    ] = 0.35,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Folder with config.json and preprocessor_config.json, if the model is out of reach.",
            rich_help_panel=_PLAN,
        ),
    ] = None,
) -> PlanChoice:
    """What the options of planning say."""
    from stepsight.errors import InputError
    from stepsight.training.plan.records import PlanChoice

    if utilisation <= 0:
        raise InputError("--utilisation must be above 0", hint="give the share of the peak, such as 0.35")
    return PlanChoice(devices=devices, device=device, utilisation=utilisation, config=config)
