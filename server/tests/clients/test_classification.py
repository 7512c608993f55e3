"""The classes of an output, with labels: what image clients ask for."""

import numpy as np
import pytest
from asking import tensors, wanted
from tritonclient.utils import InferenceServerException

SCORES = np.array([[0.1, 0.7, 0.2, 0], [0.5, 0, 0.1, 0.4]], dtype=np.float32)


def classes(protocol, model, count, **form):
    outputs = wanted(protocol.module, ["y"], class_count=count, **form)
    result = protocol.client.infer(model, tensors(protocol.module, {"x": SCORES}), outputs=outputs)
    return result.as_numpy("y")


def test_each_row_has_its_best_classes(protocol):
    best = classes(protocol, "labelled", 2)
    assert best.tolist() == [
        [b"0.700000:1:dog", b"0.200000:2:hen"],
        [b"0.500000:0:cat", b"0.400000:3:owl"],
    ]


def test_classes_come_as_json_too(http):
    import tritonclient.http as module

    outputs = wanted(module, ["y"], class_count=1, binary_data=False)
    result = http.infer("labelled", tensors(module, {"x": SCORES}), outputs=outputs)
    assert result.as_numpy("y").tolist() == [["0.700000:1:dog"], ["0.500000:0:cat"]]


def test_there_are_no_labels_without_a_file(protocol):
    best = classes(protocol, "identity-FP32", 9)
    assert best.shape == (2, 4)
    assert best[1].tolist() == [b"0.500000:0", b"0.400000:3", b"0.100000:2", b"0.000000:1"]


def test_the_file_is_in_the_configuration(protocol):
    config = protocol.client.get_model_config("labelled")
    output = config["output"][0] if protocol.kind == "http" else config.config.output[0]
    name = output["label_filename"] if protocol.kind == "http" else output.label_filename
    assert name == "labels.txt"


def test_strings_have_no_classes(protocol):
    module = protocol.module
    strings = np.array([[b"a"]], dtype=np.object_)
    outputs = wanted(module, ["y"], class_count=1)
    with pytest.raises(InferenceServerException) as error:
        protocol.client.infer("identity-BYTES", tensors(module, {"x": strings}), outputs=outputs)
    assert error.value.status() == protocol.status["bad"]
    assert "'classification' needs numbers" in error.value.message()
