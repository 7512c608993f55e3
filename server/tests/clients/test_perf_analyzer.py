"""NVIDIA's load tool measures the server, if SKYSAIL_PERF_ANALYZER names its program.

It comes with the wheel of tritonclient 2.51.0 for x86_64 (`pip download --no-deps`), under
`data/bin`, and needs libcudart.so.12 (from the wheel of nvidia-cuda-runtime-cu12, by way of
LD_LIBRARY_PATH) and Debian's package libb64-0d.
"""

import csv
import os
import subprocess

import pytest
from asking import GRPC, HTTP

PROGRAM = os.environ.get("SKYSAIL_PERF_ANALYZER")
# Short and unstable windows: this tests that it measures, not how fast the server is.
WINDOWS = ["-p", "400", "-s", "1000", "-r", "3"]
URL = {"http": HTTP, "grpc": GRPC}
LOADS = [
    ["--sync", "--concurrency-range", "1:4"],
    ["--async", "--concurrency-range", "1:4"],
    ["--request-rate-range", "50:100:50"],
]
STREAMING = ["--streaming", "--concurrency-range", "1:4"]

pytestmark = pytest.mark.skipif(not PROGRAM, reason="SKYSAIL_PERF_ANALYZER names no program")


def run(protocol, model, *options):
    command = [PROGRAM, "-i", protocol, "-u", URL[protocol], "-m", model, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def measure(protocol, model, file, *options):
    """Results: one row for each load."""
    outcome = run(protocol, model, *WINDOWS, "-f", str(file), *options)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    rows = list(csv.DictReader(file.open()))
    assert rows
    for row in rows:
        assert float(row["Inferences/Second"]) > 0
        assert float(row["Server Compute Infer"]) > 0
    return rows


@pytest.mark.parametrize("rows", ["1", "8"])
@pytest.mark.parametrize(
    ("protocol", "load"),
    [*[(protocol, load) for protocol in URL for load in LOADS], ("grpc", STREAMING)],
    ids=lambda value: value if isinstance(value, str) else value[0].strip("-"),
)
def test_measures_every_kind_of_load(protocol, load, rows, tmp_path):
    measure(protocol, "digits", tmp_path / "out.csv", "-b", rows, *load)


@pytest.mark.parametrize("model", ["digits", "identity-BYTES"])
@pytest.mark.parametrize("protocol", URL)
def test_measures_tensors_in_shared_memory(protocol, model, tmp_path):
    shared = ["--shared-memory", "system", "--concurrency-range", "2"]
    shape = ["--shape", "x:2"] if model == "identity-BYTES" else []
    measure(protocol, model, tmp_path / "out.csv", *shared, *shape)


@pytest.mark.parametrize("protocol", URL)
@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("triton", ["-x", "1", "-b", "4"]),
        ("identity-BYTES", ["--shape", "x:5"]),
        ("identity-FP16", ["--shape", "x:5", "-b", "2"]),
        ("mixed", ["--shape", "floats:3", "--shape", "integers:3", "--shape", "texts:3"]),
    ],
)
def test_measures_models_of_all_kinds(protocol, model, options, tmp_path):
    measure(protocol, model, tmp_path / "out.csv", *options)


def test_measures_with_all_tensors_in_json(tmp_path):
    forms = ["--input-tensor-format", "json", "--output-tensor-format", "json"]
    measure("http", "digits", tmp_path / "out.csv", *forms)


def test_says_what_the_server_refuses():
    outcome = run("grpc", "nonesuch")
    assert outcome.returncode != 0
    assert "there is no model 'nonesuch'" in outcome.stderr + outcome.stdout
