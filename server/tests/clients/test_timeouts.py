"""Timeouts of requests and callers, and cancellation."""

import queue
import time

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from asking import GRPC, HTTP, SECONDS_MAX, tensors
from tritonclient.utils import InferenceServerException

# Occupies the only replica for about half a second.
LONG = {"steps": np.array(500_000)}
SHORT = {"steps": np.array(1)}


def done(result):
    return result.as_numpy("done")


def test_a_request_that_would_wait_longer_than_its_timeout(grpc, protocol):
    answers = queue.Queue()
    answer = lambda result, error: answers.put(result)
    for _ in range(3):
        grpc.async_infer("slow", tensors(tritonclient.grpc, LONG), answer)
    time.sleep(0.1)
    with pytest.raises(InferenceServerException, match="1000 us") as error:
        protocol.client.infer("slow", tensors(protocol.module, SHORT), timeout=1000)
    # Rejected on arrival, if that could be predicted.
    assert error.value.status() in (protocol.status["unavailable"], protocol.status["late"])
    assert done(answers.get(timeout=SECONDS_MAX)) == LONG["steps"]


def test_a_caller_over_grpc_that_waits_no_longer(grpc):
    with pytest.raises(InferenceServerException) as error:
        grpc.infer("slow", tensors(tritonclient.grpc, LONG), client_timeout=0.05)
    # A server that has learned the run time rejects at once.
    assert error.value.status() in ("StatusCode.DEADLINE_EXCEEDED", "StatusCode.UNAVAILABLE")
    assert done(grpc.infer("slow", tensors(tritonclient.grpc, SHORT))) == 1


def test_a_caller_over_http_that_waits_no_longer(http):
    with tritonclient.http.InferenceServerClient(HTTP, network_timeout=0.05) as hasty:
        with pytest.raises(TimeoutError):
            hasty.infer("slow", tensors(tritonclient.http, LONG))
    assert done(http.infer("slow", tensors(tritonclient.http, SHORT))) == 1


def test_a_cancelled_call_leaves_its_place(grpc):
    errors = queue.Queue()
    answer = lambda result, error: errors.put(error)
    call = grpc.async_infer("slow", tensors(tritonclient.grpc, LONG), answer)
    time.sleep(0.1)
    call.cancel()
    assert done(grpc.infer("slow", tensors(tritonclient.grpc, SHORT))) == 1
    assert errors.get(timeout=SECONDS_MAX).status() == "StatusCode.CANCELLED"


def test_requests_whose_caller_left_cost_nothing():
    with tritonclient.grpc.InferenceServerClient(GRPC) as client:
        runs = lambda: client.get_inference_statistics("slow").model_stats[0].execution_count
        before = runs()
        ignore = lambda result, error: None
        calls = [
            client.async_infer("slow", tensors(tritonclient.grpc, LONG), ignore) for _ in range(20)
        ]
        time.sleep(0.1)
        for call in calls:
            call.cancel()
        client.infer("slow", tensors(tritonclient.grpc, SHORT))
        # A run goes on when its caller leaves.
        assert runs() <= before + 3
