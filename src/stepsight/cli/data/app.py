"""`stepsight data`: the verbs that make datasets."""

from __future__ import annotations

import typer

from stepsight.cli.data.ablate import ablate_command
from stepsight.cli.data.audit import audit_command, export_command, import_command, sheet_command
from stepsight.cli.data.build import build_command, forecast_command
from stepsight.cli.data.compose import compose_command
from stepsight.cli.data.select import select_command
from stepsight.cli.data.sources import sources_command

data_app = typer.Typer(
    help="Datasets: what public sources hold, and what is made of them.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data_app.command("sources")(sources_command)
data_app.command("compose")(compose_command)
data_app.command("build")(build_command)
data_app.command("forecast")(forecast_command)
data_app.command("audit")(audit_command)
data_app.command("sheet")(sheet_command)
data_app.command("import")(import_command)
data_app.command("export")(export_command)
data_app.command("ablate")(ablate_command)
data_app.command("select")(select_command)
