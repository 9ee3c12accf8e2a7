"""A local model behind the server, in this process: what a client that goes away leaves in the batch."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from tests.serving.test_process import connection_that_asked

from stepsight.assembly import ModelChoice, load_model
from stepsight.cli.ask import EXAMPLE_QUESTION, example_picture
from stepsight.engines.transformers import TransformersEngine
from stepsight.serving.app import create_app
from stepsight.serving.served import Catalogue, ServedModel
from stepsight.serving.service import Service
from stepsight.testing.processes import messages, posted, until


@pytest.fixture
def pico() -> Iterator[tuple[str, TransformersEngine]]:
    model = load_model(ModelChoice("pico"))
    assert isinstance(model.engine, TransformersEngine)
    app = create_app(Service(Catalogue([ServedModel("pico", model)])))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    thread.start()
    assert until(lambda: server.started)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1", model.engine
    server.should_exit = True
    thread.join(30)


def test_rows_of_a_client_that_went_away_leave_the_batch(pico: tuple[str, TransformersEngine]) -> None:
    url, engine = pico
    batch = engine._worker._batch
    said = messages(example_picture().read_bytes(), EXAMPLE_QUESTION)
    asked = {"model": "pico@best-of-n:12:t1.0", "messages": said}
    socks = [connection_that_asked(url, {**asked, "stream": stream, "seed": stream}) for stream in (True, False)]
    assert until(lambda: batch.rows == 24, 60)
    socks[0].close()
    assert until(lambda: batch.rows <= 12, 10)
    socks[1].close()
    assert until(lambda: batch.rows == 0, 10)
    # It goes on as if they had never been there.
    status, _, reply = posted(f"{url}/chat/completions", {"model": "pico@greedy", "messages": said})
    assert status == 200
    assert reply["choices"][0]["finish_reason"] == "stop"
