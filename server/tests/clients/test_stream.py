"""Predictions over one gRPC stream."""

import queue

import numpy as np
import pytest
import tritonclient.grpc
from asking import GRPC, SECONDS_MAX, tensors

ROWS = np.arange(3, dtype=np.float32).reshape(1, 3)


class Stream:
    """A stream and its responses."""

    def __init__(self, client, **options):
        self.client = client
        self.answers = queue.Queue()
        client.start_stream(lambda result, error: self.answers.put((result, error)), **options)

    def send(self, model, arrays, request_id="", **options):
        inputs = tensors(tritonclient.grpc, arrays)
        self.client.async_stream_infer(model, inputs, request_id=request_id, **options)

    def next(self):
        return self.answers.get(timeout=SECONDS_MAX)


@pytest.fixture
def open_stream():
    with tritonclient.grpc.InferenceServerClient(GRPC) as client:
        yield lambda **options: Stream(client, **options)
        client.stop_stream()


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_many_requests_in_flight_are_answered_in_order(open_stream, compression):
    stream = open_stream(compression_algorithm=compression)
    for number in range(200):
        stream.send("identity-FP32", {"x": ROWS + number}, str(number))
    for number in range(200):
        result, error = stream.next()
        assert error is None
        assert result.get_response().id == str(number)
        np.testing.assert_array_equal(result.as_numpy("y"), ROWS + number)


def test_models_of_all_kinds_share_a_stream(open_stream):
    stream = open_stream()
    stream.send("slow", {"steps": np.array(50_000)}, "slow")
    stream.send("triton", {"x": ROWS}, "quick", model_version="1")
    answers = [stream.next()[0] for _ in range(2)]
    assert [answer.get_response().id for answer in answers] == ["slow", "quick"]
    np.testing.assert_array_equal(answers[1].as_numpy("y"), ROWS + 1)


def test_an_error_in_the_middle_leaves_the_others_alone(open_stream):
    stream = open_stream()
    stream.send("triton", {"x": ROWS})
    stream.send("triton", {"z": ROWS})
    stream.send("nonesuch", {"x": ROWS})
    stream.send("triton", {"x": ROWS})
    answers = [stream.next() for _ in range(4)]
    assert [error is None for _, error in answers] == [True, False, False, True]
    assert "no input 'z'" in answers[1][1].message()
    assert "nonesuch" in answers[2][1].message()


def test_a_stream_can_ask_for_errors_as_statuses(open_stream):
    stream = open_stream(headers={"triton_grpc_error": "true"})
    stream.send("triton", {"x": ROWS})
    assert stream.next()[1] is None
    stream.send("nonesuch", {"x": ROWS})
    _, error = stream.next()
    assert error.status() == "StatusCode.NOT_FOUND"


@pytest.mark.parametrize("wanted", [True, False])
def test_the_end_of_a_request_is_told_when_wanted(open_stream, wanted):
    stream = open_stream()
    stream.send("triton", {"x": ROWS}, enable_empty_final_response=wanted)
    parameters = stream.next()[0].get_response().parameters
    assert ("triton_final_response" in parameters) == wanted
    if wanted:
        assert parameters["triton_final_response"].bool_param


def test_a_stream_ends_at_its_timeout(open_stream):
    stream = open_stream(stream_timeout=0.1)
    stream.send("slow", {"steps": np.array(500_000)})
    _, error = stream.next()
    assert error.status() == "StatusCode.DEADLINE_EXCEEDED"


def test_a_cancelled_stream_ends_at_once(open_stream):
    stream = open_stream()
    for _ in range(20):
        stream.send("slow", {"steps": np.array(500_000)})
    stream.client.stop_stream(cancel_requests=True)
    _, error = stream.next()
    assert error.status() == "StatusCode.CANCELLED"
    again = Stream(stream.client)
    again.send("triton", {"x": ROWS})
    assert again.next()[1] is None
