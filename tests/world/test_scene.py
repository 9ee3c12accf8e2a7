"""Scenes keep to their split's limits, things to their cells, and splits apart."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepsight.errors import InputError
from stepsight.world.scene import CELL_MARGIN, CELLS, GRID, RADIUS, Scene, cell_name, draw_scene
from stepsight.world.split import SPLITS, pose, share_of

seeds = st.integers(0, 10**9)
splits = st.sampled_from(sorted(SPLITS))


@given(splits, seeds)
@settings(max_examples=60)
def test_a_drawn_scene_is_within_its_limits(split: str, seed: int) -> None:
    limits = SPLITS[split].scenes
    scene = draw_scene(random.Random(seed), limits)
    assert limits.fewest <= len(scene.things) <= limits.most
    assert 0.9 <= scene.light <= 1.1
    cells = [thing.cell for thing in scene.things]
    assert len(set(cells)) == len(cells)
    assert cells == sorted(cells, key=CELLS.index)
    for number, thing in enumerate(scene.things):
        assert thing.cell == cell_name(int(thing.x * GRID), int(thing.y * GRID))
        for middle in (thing.x, thing.y):
            assert 0 < middle < 1
            assert CELL_MARGIN - 1e-3 <= middle * GRID % 1 <= 1 - CELL_MARGIN + 1e-3
        for other in scene.things[:number]:
            distance = ((thing.x - other.x) ** 2 + (thing.y - other.y) ** 2) ** 0.5
            assert distance >= limits.closeness * (RADIUS[thing.size] + RADIUS[other.size])


@given(seeds)
@settings(max_examples=30)
def test_a_scene_survives_its_dictionary(seed: int) -> None:
    scene = draw_scene(random.Random(seed), SPLITS["train"].scenes)
    assert Scene.from_dict(scene.to_dict()) == scene


def test_splits_share_no_layout() -> None:
    shares = [share for rules in SPLITS.values() for share in rules.shares]
    assert sorted(shares) == list(range(100))


@given(splits, seeds, st.integers(0, 1000))
@settings(max_examples=40)
def test_a_posed_scene_lies_in_its_own_split(split: str, seed: int, index: int) -> None:
    posed = pose(split, seed=seed, index=index)
    assert share_of(posed.scene) in SPLITS[split].shares
    assert posed == pose(split, seed=seed, index=index)
    assert posed.scene != pose(split, seed=seed + 1, index=index).scene
    assert posed.scene != pose(split, seed=seed, index=index + 1).scene


def test_the_share_depends_on_what_is_seen_alone() -> None:
    scene = pose("train", seed=0, index=0).scene
    assert share_of(Scene(scene.things, light=1.05)) == share_of(scene)


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="train, test, hard"):
        pose("validation", seed=0, index=0)
