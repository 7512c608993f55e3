"""Outputs of ONNX Runtime, and the comparison of outputs."""

import numpy as np
import onnx
import onnxruntime

# Tolerance of an output, relative to its largest value in ONNX Runtime.
TOLERANCES = {"float16": 5e-3, "bfloat16": 4e-2, "float32": 2e-5, "float64": 1e-10}
CARRIED = {
    onnx.TensorProto.BOOL,
    onnx.TensorProto.UINT8,
    onnx.TensorProto.UINT16,
    onnx.TensorProto.UINT32,
    onnx.TensorProto.UINT64,
    onnx.TensorProto.INT8,
    onnx.TensorProto.INT16,
    onnx.TensorProto.INT32,
    onnx.TensorProto.INT64,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.STRING,
}


class NoAnswer(Exception):
    """ONNX Runtime fails, with the reason."""


class Alone:
    """A model in ONNX Runtime, which runs one request at a time."""

    def __init__(self, model):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        data = model.SerializeToString()
        try:
            self.session = onnxruntime.InferenceSession(data, options, ["CPUExecutionProvider"])
        except Exception as error:
            raise NoAnswer(f"ONNX Runtime does not load it: {short(error)}") from error
        self.names = [output.name for output in self.session.get_outputs()]

    def answer(self, inputs):
        """Outputs by name."""
        sent = {name: as_text(array) for name, array in inputs.items()}
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        try:
            outputs = self.session.run(None, sent, options)
        except Exception as error:
            raise NoAnswer(f"ONNX Runtime does not run it: {short(error)}") from error
        if any(not isinstance(output, np.ndarray) for output in outputs):
            raise NoAnswer("an output is no tensor")
        return dict(zip(self.names, outputs, strict=True))


def not_carried(model, inputs):
    """Reason why the protocol can not carry a model's inputs or outputs, if any."""
    for side, infos in [("input", inputs), ("output", model.graph.output)]:
        for info in infos:
            if not info.type.HasField("tensor_type"):
                return f"an {side} is no tensor"
            kind = info.type.tensor_type.elem_type
            if kind not in CARRIED:
                return f"an {side} is of type {onnx.TensorProto.DataType.Name(kind)}"
    return None


def difference(given, expected):
    """Difference of outputs to the expected ones, in a line; None if equal."""
    if given.keys() != expected.keys():
        return f"outputs {sorted(given)} instead of {sorted(expected)}"
    for name, array in expected.items():
        said = array_difference(given[name], array)
        if said:
            return f"output '{name}': {said}"
    return None


def array_difference(given, expected):
    """Difference of an array to the expected one."""
    if given.shape != expected.shape:
        return f"shape {list(given.shape)} instead of {list(expected.shape)}"
    if expected.dtype.kind in "OSU":
        given, expected = as_text(given), as_text(expected)
        same = given == expected
    elif given.dtype != expected.dtype:
        return f"type {given.dtype} instead of {expected.dtype}"
    elif expected.dtype.name not in TOLERANCES:
        same = given == expected
    else:
        same = near(given, expected)
    if np.all(same):
        return None
    places = np.argwhere(~np.atleast_1d(same))
    flat = lambda array: np.atleast_1d(array)[tuple(places[0])]
    return f"{len(places)} of {expected.size} differ, first {flat(given)} for {flat(expected)}"


def near(given, expected):
    """Mask of the floats that are equal up to rounding."""
    wide = expected.astype(np.float64)
    finite = np.abs(wide[np.isfinite(wide)])
    largest = finite.max() if finite.size else 0
    tolerance = TOLERANCES[expected.dtype.name]
    return np.isclose(
        given.astype(np.float64), wide, rtol=tolerance, atol=tolerance * largest, equal_nan=True
    )


def as_text(array):
    """Converts strings to text."""
    if array.dtype.kind not in "OSU":
        return array
    plain = [item.decode() if isinstance(item, bytes) else str(item) for item in array.ravel()]
    return np.array(plain, dtype=np.object_).reshape(array.shape)


def short(error):
    """Message of ONNX Runtime, in one line."""
    return " ".join(str(error).split())[:300]
