"""Requests of one row each that differ from each other, made of a case's own values."""

import zlib

import numpy as np

CALLERS = 8


def row_requests(inputs):
    """One request for each caller: a row of every input, changed in another way for each."""
    return [
        {name: varied(name, array, caller) for name, array in inputs.items()}
        for caller in range(CALLERS)
    ]


def varied(name, array, caller):
    """The row of an input that one caller sends."""
    if array.ndim == 0:
        return array
    if len(array) == 0:
        return array
    place = caller % len(array)
    row = array[place : place + 1]
    if caller == 0:
        return row
    random = np.random.default_rng(zlib.crc32(f"{name} {caller}".encode()))
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        return varied_floats(row, caller, random)
    # Only values that the case has: an index or a size has to stay a valid one.
    drawn = random.choice(array.ravel(), row.shape) if array.size else row
    return row if caller < len(array) else drawn.astype(array.dtype)


def varied_floats(row, caller, random):
    """A row of floats, changed."""
    wide = row.astype(np.float64)
    changes = [
        lambda: wide,
        lambda: -wide,
        lambda: random.permutation(wide.ravel()).reshape(wide.shape),
        lambda: wide * 100,
        lambda: wide * 0,
        lambda: wide[..., ::-1],
        lambda: random.normal(size=wide.shape),
        lambda: wide / 2 + random.random(wide.shape),
    ]
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(changes[caller % len(changes)]().astype(row.dtype))
