"""Drawn pictures for the page, and which candidates are true of them."""

from __future__ import annotations

import pytest
from tests.serving.asking import serving

from stepsight.protocols import SampleRequest
from stepsight.serving.gate import Access
from stepsight.stages import STAGES, Stage, parse, render_stage
from stepsight.world.split import pose


async def test_a_scene_comes_with_its_question_and_truth() -> None:
    async with serving() as client:
        first = (await client.http.get("/v1/tabletop?split=hard&seed=3")).json()
        again = (await client.http.get("/v1/tabletop?split=hard&seed=3")).json()
        other = (await client.http.get("/v1/tabletop?split=hard&seed=4")).json()
        assert first == again
        assert first["picture"] != other["picture"]
        posed = pose("hard", seed=3, index=0)
        assert first["question"].startswith(posed.asked.text)
        assert first["answer"] == posed.asked.answer
        assert list(parse(first["truth"]).stages) == list(STAGES)
        # It can be asked about as it is, and is known for a drawn one.
        content = [{"type": "image_url", "image_url": {"url": first["picture"]}}, {"type": "text", "text": "How many?"}]
        reply = await client.answer(messages=[{"role": "user", "content": content}])
        assert "notes" not in reply["stepsight"]


@pytest.mark.parametrize("asked", ["split=other&seed=1", "seed=-1", "seed=2147483648", "seed=x"])
async def test_scenes_that_there_are_not(asked: str) -> None:
    async with serving() as client:
        reply = await client.http.get(f"/v1/tabletop?{asked}")
        assert reply.status_code == 400
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


async def test_scenes_are_under_the_key() -> None:
    async with serving(access=Access(key="sk-a-key-of-ours")) as client:
        assert (await client.http.get("/v1/tabletop?seed=1")).status_code == 401


async def test_candidates_are_held_against_the_scene() -> None:
    truth = pose("test", seed=5, index=0).stages

    def write(request: SampleRequest, slot: int, seed: int) -> str:
        """Slot 0 writes the truth, slot 1 a caption without the first thing and a wrong conclusion."""
        begun = "".join(piece.text for piece in request.prefix)
        stage = STAGES[sum(one.close in begun for one in STAGES)]
        text = truth[stage]
        if slot == 1 and stage is Stage.CAPTION:
            text = text.replace("large", "small", 1)
        if slot == 1 and stage is Stage.CONCLUSION:
            text = "17"
        return ("\n\n" if begun else "") + render_stage(stage, text)

    async with serving(write) as client:
        scene = (await client.http.get("/v1/tabletop?split=test&seed=5")).json()

        async def told(question: str) -> dict[str, bool | None]:
            content = [
                {"type": "image_url", "image_url": {"url": scene["picture"]}},
                {"type": "text", "text": question},
            ]
            reply = await client.answer(
                model="scripted@stage-beam:2",
                messages=[{"role": "user", "content": content}],
                search={"keep": True},
            )
            path = f"/v1/traces/{reply['stepsight']['trace_id']}/truth?split=test&seed=5"
            found: dict[str, bool | None] = (await client.http.get(path)).json()["candidates"]
            return found

        own = await told(scene["question"])
        assert [own[str(one)] for one in range(8)] == [None, None, True, False, True, True, True, False]
        other = await told("Another question?")
        assert [other[str(one)] for one in range(8)] == [None, None, True, False, None, None, None, None]
        missing = await client.http.get("/v1/traces/trace-none/truth?split=test&seed=5")
        assert missing.status_code == 404
