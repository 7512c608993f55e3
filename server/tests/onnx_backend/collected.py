"""The models that are checked, with their inputs.

From the ONNX project: the cases of its operators, which the package `onnx` makes, and the models
that lie in it. From a folder: each `NAME.onnx` and `NAME/model.onnx`, with the inputs of
`NAME/test_data_set_*` or, where there are none, made ones.
"""

import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.defs import ONNX_DOMAIN

KINDS_ON_DISK = ["simple", "pytorch-converted", "pytorch-operator"]
OPEN_SIZES = [3, 4]
SETS_MAX = 3
# Versions that ONNX Runtime supports; the package `onnx` is newer.
IR_MAX, OPSET_MAX = 13, 26
# A larger input with a default is a weight, which no caller sends.
GIVEN_MAX = 16


@dataclass
class Case:
    """A model and its sets of inputs.

    `trouble` says why there are none, `shares` whether requests have to share runs, if known.
    """

    name: str
    model: onnx.ModelProto
    sets: list
    trouble: str | None = None
    shares: bool | None = None

    @cached_property
    def inputs(self):
        """Required inputs: the graph's inputs without a default."""
        return given_inputs(self.model.graph)

    @cached_property
    def optional(self):
        """Optional inputs, each with its default."""
        names = {info.name for info in self.model.graph.input} if self.model.ir_version > 3 else {}
        initial = self.model.graph.initializer
        given = [each for each in initial if each.name in names]
        values = {each.name: numpy_helper.to_array(each) for each in given}
        small = {name: value for name, value in values.items() if value.size <= GIVEN_MAX}
        # Some exporters list all weights among the inputs.
        return {} if len(given) == len(initial) and len(small) < len(given) else small

    @cached_property
    def operators(self):
        """The operators of the graph, those of inner graphs too."""
        return sorted(set(operators(self.model.graph)))


def given_inputs(graph):
    """Required inputs."""
    weights = {weight.name for weight in graph.initializer}
    weights |= {weight.values.name for weight in graph.sparse_initializer}
    return [info for info in graph.input if info.name not in weights]


def operators(graph):
    """Operators of a graph, with the domain unless it is ONNX's."""
    for node in graph.node:
        yield node.op_type if node.domain in ("", ONNX_DOMAIN) else f"{node.domain}.{node.op_type}"
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                yield from operators(inner)


def backend_cases():
    """Every case of the ONNX project that needs nothing from the network."""
    from onnx.backend.test.case.node import collect_testcases
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = list(collect_testcases(None))
    for case in made:
        yield from_arrays(case.name, case.model, case.data_sets)
    for kind in KINDS_ON_DISK:
        for case in load_model_tests(kind=kind):
            yield from_folder(case.name, Path(case.model_dir))
    yield from folder_cases(Path(onnx.__file__).parent / "backend/test/data/light")


def folder_cases(folder):
    """Every model of a folder."""
    for path in sorted([*folder.glob("*.onnx"), *folder.glob("*/model.onnx")]):
        alone = path.parent == folder
        yield from_folder(path.stem if alone else path.parent.name, path.parent, path)


def dated(model):
    """Converts the model to versions that ONNX Runtime supports, if possible."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    made.ir_version = min(model.ir_version, IR_MAX)
    for each in made.opset_import:
        if each.domain in ("", ONNX_DOMAIN):
            each.version = min(each.version, OPSET_MAX)
    return made


def from_arrays(name, model, data_sets):
    """A case whose values are arrays already."""
    case = Case(name, dated(model), [])
    names = [info.name for info in case.inputs]
    sets = [[as_array(value) for value in inputs] for inputs, _ in data_sets]
    if any(value is None for each in sets for value in each):
        case.trouble = "an input is no tensor"
    elif any(len(names) != len(each) for each in sets):
        case.trouble = "its data do not fit its inputs"
    else:
        case.sets = [dict(zip(names, each, strict=True)) for each in sets]
    return case


def as_array(value):
    """A value of the ONNX project's cases as an array; None if it is not a tensor."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    return np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else None


def from_folder(name, folder, path=None):
    """A case whose model and values are files."""
    path = path or folder / "model.onnx"
    case = Case(name, onnx.load(path), [])
    examples = [] if path.stem != "model" else sorted(folder.glob("test_data_set_*"))
    try:
        for example in examples[:SETS_MAX]:
            values = list(read_inputs(example))
            names = [info.name for info in case.inputs]
            if len(values) == len(names):
                case.sets.append(dict(zip(names, values, strict=True)))
        if not case.sets:
            case.sets = [{info.name: made_up(info) for info in case.inputs}]
    except (ValueError, TypeError, onnx.onnx_cpp2py_export.checker.ValidationError) as error:
        case.trouble = f"its data can not be read: {error}"
    return case


def read_inputs(example):
    """Reads the inputs in a folder, in order."""
    place = lambda stem: int(stem.removeprefix("input_"))
    for stem in sorted({path.stem for path in example.glob("input_*")}, key=place):
        plain = example / f"{stem}.npy"
        if plain.exists():
            yield np.load(plain)
            continue
        data = (example / f"{stem}.pb").read_bytes()
        yield numpy_helper.to_array(onnx.TensorProto.FromString(data))


def made_up(info):
    """Values for an input of its type and shape, with small dynamic dimensions."""
    kind = info.type.tensor_type
    if not info.type.HasField("tensor_type"):
        raise ValueError(f"input '{info.name}' is no tensor")
    dims = kind.shape.dim if kind.HasField("shape") else [onnx.TensorShapeProto.Dimension()] * 2
    size = lambda place: OPEN_SIZES[min(place, 1)]
    shape = [dim.dim_value or size(place) for place, dim in enumerate(dims)]
    random = np.random.default_rng(0)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    if kind.elem_type == onnx.TensorProto.STRING:
        return random.choice(np.array(["a", "b", "c d"], dtype=np.object_), shape)
    if np.issubdtype(dtype, np.integer):
        return random.integers(0, 3, shape).astype(dtype)
    if dtype == np.bool_:
        return random.random(shape) < 0.5
    return random.normal(size=shape).astype(dtype)
