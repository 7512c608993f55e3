"""The models of the data folder, with their example inputs and outputs."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

DATA = Path(os.environ["SKYSAIL_DATA"])
NOT_TENSORS = ["edge-sklearn-randomforest", "ort-logreg-iris"]
# Looser tolerances: half-precision weights, and a quantized model whose class alone counts.
TOLERANCES = {
    ("all-minilm-l6-v2", "last_hidden_state"): 1e-2,
    ("all-minilm-l6-v2", "sentence_embedding"): 2e-4,
}
CLASS_ONLY = {"shufflenet-v2-int8"}


@dataclass(frozen=True)
class Case:
    """A set of inputs of a model, with its outputs."""

    folder: Path
    examples: Path

    def __str__(self):
        return f"{self.folder.name}-{self.examples.name.removeprefix('test_data_set_')}"

    @property
    def model(self):
        return self.folder.name

    def read(self):
        """Inputs and outputs by name."""
        pair = self.examples / "pair.json"
        if pair.exists():
            return read_strings(pair)
        graph = onnx.load(self.folder / "model.onnx").graph
        weights = {weight.name for weight in graph.initializer}
        inputs = [info for info in graph.input if info.name not in weights]
        names = [info.name for info in inputs]
        given = dict(zip(names, read_arrays(self.examples, "input")))
        if not given:
            given = {names[0]: ramp(inputs[0].type.tensor_type.shape)}
        outputs = read_arrays(self.examples, "output")
        return given, dict(zip((info.name for info in graph.output), outputs, strict=True))

    def check(self, name, given, expected):
        """Compares an output with the expected one."""
        assert given.dtype == expected.dtype and given.shape == expected.shape
        if self.model in CLASS_ONLY:
            assert given.argmax() == expected.argmax()
        elif expected.dtype.kind == "f":
            tolerance = TOLERANCES.get((self.model, name), 1e-4)
            np.testing.assert_allclose(given, expected, rtol=tolerance, atol=tolerance)
        else:
            np.testing.assert_array_equal(given, expected)


def cases():
    """Every set of every model."""
    kinds = ["models", "onnx-conformance"]
    folders = [folder for kind in kinds for folder in DATA.glob(f"{kind}/*/test_data_set_*")]
    return [Case(examples.parent, examples) for examples in sorted(folders)]


def read_strings(pair):
    """A set of strings."""
    sides = json.loads(pair.read_text())
    encode = np.vectorize(str.encode, otypes=[np.object_])
    read = lambda side: {name: encode(rows) for name, rows in sides[side].items()}
    return read("inputs"), read("outputs")


def read_arrays(folder, side):
    """All arrays of one side, in order."""
    place = lambda stem: int(stem.removeprefix(f"{side}_"))
    stems = sorted({path.stem for path in folder.glob(f"{side}_*")}, key=place)
    return [read_array(folder / stem) for stem in stems]


def read_array(stem):
    """Reads an array from .npy or .pb."""
    plain = stem.with_suffix(".npy")
    if plain.exists():
        return np.load(plain)
    message = onnx.TensorProto.FromString(stem.with_suffix(".pb").read_bytes())
    return onnx.numpy_helper.to_array(message)


def ramp(shape):
    """Input of models without example inputs: element i of N is i/N."""
    dims = [dim.dim_value for dim in shape.dim]
    count = int(np.prod(dims))
    return (np.arange(count, dtype=np.float32) / np.float32(count)).reshape(dims)
