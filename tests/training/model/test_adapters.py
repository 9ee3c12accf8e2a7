"""Adapters learn, go on, and give the same model merged as apart."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from stepsight.cli.app import run
from stepsight.engines.placement import Placement
from stepsight.engines.transformers.loading import load_model
from stepsight.errors import ModelError
from stepsight.model_folders import resolve_model
from stepsight.training.checkpoints import ADAPTER_WEIGHTS
from stepsight.training.run import train

from ..runs import check_weights, losses, staged_rows, weights, write

# PEFT still asks models by the name that transformers has left behind.
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

LORA = {"rank": 4, "alpha": 16, "dropout": 0.1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, start: dict[str, str]) -> Path:
    folder = tmp_path_factory.mktemp("lora")
    train(write(folder, start=start, data=staged_rows(folder, "pptp"), lora=LORA, optimisation={"steps": 4}))
    return folder / "run"


def load(folder: Path | str) -> Any:
    return load_model(folder, Placement("cpu", dtype="float32"), revision=None, trust_remote_code=False)


def test_merged_weights_say_what_the_adapters_say(trained: Path, start: dict[str, str]) -> None:
    torch.manual_seed(3)
    ids = torch.randint(6, 200, (2, 12))
    merged, _ = load(trained / "model")
    base, _ = load(start["folder"])
    with torch.no_grad():
        before = base(input_ids=ids).logits
        apart = PeftModel.from_pretrained(base, str(trained / "adapter"))(input_ids=ids).logits
        together = merged(input_ids=ids).logits
    assert torch.allclose(apart, together, atol=1e-5)
    assert not torch.allclose(before, together, atol=1e-3)


def test_only_the_text_models_layers_have_changed(trained: Path, start: dict[str, str]) -> None:
    before, after = weights(Path(start["folder"])), weights(trained / "model")
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("language_model.") and name.endswith("proj.weight") for name in changed)
    assert len(changed) == 2 * 7  # layers; projections of attention and of the feed-forward part


def test_a_run_goes_on_with_its_adapters(trained: Path, tmp_path: Path, start: dict[str, str]) -> None:
    data = staged_rows(tmp_path, "pptp")
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/model")
    shutil.rmtree(tmp_path / "run/checkpoint-4")
    again = train(write(tmp_path, start=start, data=data, lora=LORA, optimisation={"steps": 4}))
    assert losses(again.parent) == pytest.approx(losses(trained), abs=1e-5)
    check_weights(trained / "model", again, atol=1e-6)


def test_other_adapters_are_not_silently_passed_over(trained: Path, tmp_path: Path, start: dict[str, str]) -> None:
    data = staged_rows(tmp_path, "pptp")
    shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(tmp_path / "run/model")
    path = tmp_path / "run/checkpoint-4" / ADAPTER_WEIGHTS
    save_file({name: value for name, value in load_file(path).items() if "q_proj" in name}, path)
    with pytest.raises(ModelError, match=r"adapters in .*checkpoint-4 are not those"):
        train(write(tmp_path, start=start, data=data, lora=LORA, optimisation={"steps": 6}))


def test_a_checkpoint_becomes_a_whole_model(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelError, match="no whole model") as caught:
        resolve_model(str(trained / "checkpoint-4"))
    assert caught.value.hint.startswith(f"stepsight export --model {trained / 'checkpoint-4'}")
    assert run(["export", "--model", str(trained / "checkpoint-4"), "--out", str(tmp_path / "whole")]) == 0
    assert str(tmp_path / "whole") in capsys.readouterr().out
    models: Any = AutoModelForImageTextToText
    whole, kept = (models.from_pretrained(one).state_dict() for one in (tmp_path / "whole", trained / "model"))
    assert all(torch.equal(value, kept[name]) for name, value in whole.items())
    load(tmp_path / "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
