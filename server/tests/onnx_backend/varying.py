"""Different requests, made of a case's own values.

Callers send one row of each input that takes any number of rows, and the last ones two; other
inputs keep their size. A value that a caller may leave out is given by every second one.
"""

import zlib

import numpy as np

CALLERS = 8
OF_TWO_ROWS = 2


def requests_of(inputs, optional, with_rows):
    """Requests of each caller, the better one first."""
    for caller in range(CALLERS):
        given = {**inputs, **optional} if caller % 2 else inputs
        counts = [2, 1] if caller >= CALLERS - OF_TWO_ROWS else [1]
        yield [request(given, with_rows, caller, count) for count in counts]


def request(given, with_rows, caller, count):
    """Inputs of one caller, with this many rows."""
    made = {}
    for name, array in given.items():
        rows, own = array, 1
        if name in with_rows and array.ndim > 0 and len(array) > 0:
            own = len(array)
            rows = np.take(array, [caller + place for place in range(count)], 0, mode="wrap")
        # Floats change from the second caller on; other types when the case's values are used up.
        plain = caller == 0 or rows.size == 0 or (rows.dtype.kind != "f" and caller < own)
        made[name] = rows if plain else varied(name, array, rows, caller)
    return made


def varied(name, array, rows, caller):
    """Other values for some rows of an array."""
    random = np.random.default_rng(zlib.crc32(f"{name} {caller}".encode()))
    if rows.dtype.kind == "f":
        return varied_floats(rows, caller, random)
    # Only values of the case: an index or a size must stay valid.
    return random.choice(array.ravel(), rows.shape).astype(array.dtype)


def varied_floats(rows, caller, random):
    """Changed rows of floats: large, zero or one-signed values would show in others' outputs."""
    wide = rows.astype(np.float64)
    changes = [
        lambda: wide,
        lambda: -wide,
        lambda: random.permutation(wide.ravel()).reshape(wide.shape),
        lambda: wide * 100,
        lambda: wide * 0,
        lambda: abs(wide[..., ::-1] if wide.ndim else wide),
        lambda: random.normal(size=wide.shape),
        lambda: wide / 2 + random.random(wide.shape),
    ]
    with np.errstate(all="ignore"):
        return changes[caller % len(changes)]().astype(rows.dtype, order="C")
