"""Where a model's weights come from: the hash says which they are, wherever they lie."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from stepsight.model_folders import PICO, origin_of, resolve_model


def folder(path: Path, weights: bytes = b"weights") -> Path:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(weights)
    return path


def test_the_hash_is_of_names_and_contents_of_weights_alone(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "one"), folder(tmp_path / "other")
    (other / "README.md").write_text("else")
    first = origin_of(str(one))
    line = f"model.safetensors {hashlib.sha256(b'weights').hexdigest()}\n"
    assert (first.weights, first.files) == (hashlib.sha256(line.encode()).hexdigest(), 1)
    assert origin_of(str(other)).weights == first.weights
    assert origin_of(str(folder(tmp_path / "third", b"else"))).weights != first.weights
    (other / "model.safetensors").rename(other / "model-2.safetensors")
    assert origin_of(str(other)).weights != first.weights


def test_a_changed_copy_is_known_by_its_base_too(tmp_path: Path) -> None:
    base, copy = folder(tmp_path / "base"), tmp_path / "base/reward"
    copy.mkdir()
    (copy / "stepsight.json").write_text('{"base": ".."}')
    (copy / "delta.safetensors").write_bytes(b"delta")
    before = origin_of(str(copy))
    assert before.files == 2
    (base / "model.safetensors").write_bytes(b"other weights")
    assert origin_of(str(copy)).weights != before.weights


def test_the_shipped_model_is_called_by_its_name_and_not_by_its_place(tmp_path: Path) -> None:
    origin = origin_of(resolve_model(PICO))
    assert origin.source == PICO
    shutil.copytree(resolve_model(PICO), tmp_path / "copy")
    assert origin_of(str(tmp_path / "copy")).weights == origin.weights


def test_a_hub_model_is_known_by_its_commit_and_the_names_of_its_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.HF_HUB_CACHE", str(tmp_path), raising=False)
    repository, commit = tmp_path / "models--owner--model", "c" * 40
    snapshot = folder(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(commit)
    (snapshot / "model.safetensors").unlink()
    blob = repository / "blobs" / hashlib.sha256(b"huge").hexdigest()
    blob.parent.mkdir()
    blob.write_bytes(b"huge")
    (snapshot / "model.safetensors").symlink_to(blob)
    origin = origin_of("owner/model")
    assert origin.revision == commit
    blob.write_bytes(b"not read, as its name is its hash")
    assert origin_of("owner/model").weights == origin.weights
    plain = folder(tmp_path / "plain", b"huge")
    assert origin_of(str(plain)).weights == origin.weights
    assert origin_of("owner/other", "v2").model_dump() == {
        "source": "owner/other",
        "revision": "v2",
        "weights": "",
        "files": 0,
    }
