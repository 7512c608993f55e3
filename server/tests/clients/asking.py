"""One function for predictions over all clients and protocols."""

import asyncio
import os
import queue

import numpy as np
import tritonclient.grpc
import tritonclient.grpc.aio
import tritonclient.http
import tritonclient.http.aio
from tritonclient.utils import np_to_triton_dtype

HTTP = os.environ["SKYSAIL_HTTP"]
GRPC = os.environ["SKYSAIL_GRPC"]
NO_JSON = {"FP16", "BF16"}
SECONDS_MAX = 30


def tensor(protocol, name, array, **form):
    """An input for the clients of `tritonclient.http` or `tritonclient.grpc`."""
    made = protocol.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    return made.set_data_from_numpy(array, **form)


def tensors(protocol, arrays, **form):
    """Inputs by name."""
    return [tensor(protocol, name, array, **form) for name, array in arrays.items()]


def wanted(protocol, names, **form):
    """Requested outputs."""
    return [protocol.InferRequestedOutput(name, **form) for name in names]


def arrays(result, names):
    """Outputs by name."""
    return {name: result.as_numpy(name) for name in names}


def http_binary(model, inputs, names):
    """Predicts over HTTP with raw tensors."""
    with tritonclient.http.InferenceServerClient(HTTP) as client:
        result = client.infer(model, tensors(tritonclient.http, inputs))
        return arrays(result, names)


def http_json(model, inputs, names):
    """Predicts over HTTP with tensors in JSON."""
    with tritonclient.http.InferenceServerClient(HTTP) as client:
        sent = tensors(tritonclient.http, inputs, binary_data=False)
        outputs = wanted(tritonclient.http, names, binary_data=False)
        return arrays(client.infer(model, sent, outputs=outputs), names)


def grpc(model, inputs, names):
    """Predicts over gRPC."""
    with tritonclient.grpc.InferenceServerClient(GRPC) as client:
        result = client.infer(model, tensors(tritonclient.grpc, inputs))
        return arrays(result, names)


def grpc_stream(model, inputs, names):
    """Predicts over a gRPC stream."""
    answers = queue.Queue()
    with tritonclient.grpc.InferenceServerClient(GRPC) as client:
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer(model, tensors(tritonclient.grpc, inputs))
        result, error = answers.get(timeout=SECONDS_MAX)
        client.stop_stream()
    if error:
        raise error
    return arrays(result, names)


def http_aio(model, inputs, names):
    """Predicts over HTTP by the client for asyncio."""

    async def ask():
        async with tritonclient.http.aio.InferenceServerClient(HTTP) as client:
            return await client.infer(model, tensors(tritonclient.http, inputs))

    return arrays(asyncio.run(ask()), names)


def grpc_aio(model, inputs, names):
    """Predicts over gRPC by the client for asyncio."""

    async def ask():
        async with tritonclient.grpc.aio.InferenceServerClient(GRPC) as client:
            return await client.infer(model, tensors(tritonclient.grpc, inputs))

    return arrays(asyncio.run(ask()), names)


PROTOCOLS = [http_binary, http_json, grpc]
CLIENTS = [*PROTOCOLS, grpc_stream, http_aio, grpc_aio]


def carries(ask, datatype):
    """Returns True if this protocol can carry such tensors."""
    return ask is not http_json or datatype not in NO_JSON


def texts(*items):
    """A tensor of strings as the clients return it."""
    return np.array([item.encode() for item in items], dtype=np.object_)


def as_bytes(array):
    """Converts strings to bytes: in JSON they are text."""
    if array.dtype != np.object_:
        return array
    plain = [item.encode() if isinstance(item, str) else item for item in array.ravel()]
    return np.array(plain, dtype=np.object_).reshape(array.shape)
