"""Concurrent requests: each caller gets its own response."""

import asyncio
import queue
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from asking import CLIENTS, GRPC, HTTP, SECONDS_MAX, tensors
from tritonclient.utils import InferenceServerException

COUNT = 300
# The HTTP client waits ten milliseconds between these requests.
FEW = 50


def rows(number):
    """A different tensor for each number, of one to four rows."""
    return np.full((1 + number % 4, 3), number, dtype=np.float32)


def inputs(module, number):
    return tensors(module, {"x": rows(number)})


def check(result, number):
    np.testing.assert_array_equal(result.as_numpy("y"), rows(number) + 2)


def test_asynchronous_calls_over_http():
    with tritonclient.http.InferenceServerClient(HTTP, concurrency=16) as client:
        calls = [
            client.async_infer("triton", inputs(tritonclient.http, number))
            for number in range(FEW)
        ]
        for number, call in enumerate(calls):
            check(call.get_result(timeout=SECONDS_MAX), number)


def test_asynchronous_calls_over_grpc(grpc):
    answers = queue.Queue()
    for number in range(COUNT):
        answer = lambda result, error, number=number: answers.put((number, result, error))
        grpc.async_infer("triton", inputs(tritonclient.grpc, number), answer)
    for _ in range(COUNT):
        number, result, error = answers.get(timeout=SECONDS_MAX)
        assert error is None
        check(result, number)


@pytest.mark.parametrize(
    ("aio", "module", "url"),
    [
        (tritonclient.http.aio, tritonclient.http, HTTP),
        (tritonclient.grpc.aio, tritonclient.grpc, GRPC),
    ],
    ids=["http", "grpc"],
)
def test_coroutines(aio, module, url):
    async def ask_all():
        async with aio.InferenceServerClient(url) as client:
            assert await client.is_server_ready()
            assert await client.is_model_ready("triton", "1")
            assert await client.get_model_metadata("triton")
            calls = [client.infer("triton", inputs(module, number)) for number in range(COUNT)]
            results = await asyncio.gather(*calls)
            with pytest.raises(InferenceServerException, match="nonesuch"):
                await client.infer("nonesuch", inputs(module, 0))
            return results

    for number, result in enumerate(asyncio.run(ask_all())):
        check(result, number)


def test_coroutines_in_a_stream():
    async def ask_all():
        async def requests():
            for number in range(COUNT):
                name, sent = "triton", inputs(tritonclient.grpc, number)
                yield {"model_name": name, "inputs": sent, "request_id": str(number)}

        async with tritonclient.grpc.aio.InferenceServerClient(GRPC) as client:
            return [answer async for answer in client.stream_infer(requests())]

    for number, (result, error) in enumerate(asyncio.run(ask_all())):
        assert error is None
        check(result, number)


def test_clients_of_all_kinds_at_once():
    def ask(number):
        given = CLIENTS[number % len(CLIENTS)]("triton", {"x": rows(number)}, ["y"])
        np.testing.assert_array_equal(given["y"], rows(number) + 2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(96)))
