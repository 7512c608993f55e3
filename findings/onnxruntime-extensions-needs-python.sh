#!/usr/bin/env bash
# onnxruntime-extensions 0.15.2 (wheel for CPython 3.11, x86_64 Linux), glibc's loader.
#
# The operator library of the wheel loads in Python only. Its get_library_path() names a shared library that
# exports RegisterCustomOps, the entry point that any program passes to ONNX Runtime. That library is also the
# Python module, and leaves the symbols of the interpreter open. A program without Python, such as a server in
# C++ or Rust, cannot load it, although it calls nothing of Python.
#
# Observed:
#   entry point RegisterCustomOps
#   in Python: loaded
#   elsewhere: symbol lookup error: undefined symbol: PyInstanceMethod_Type
#
# Workaround: build the library from source without Python bindings, or link libpython into the program.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
python="$folder/venv/bin/python"
"$python" -m pip install --quiet --only-binary=:all: onnxruntime-extensions==0.15.2 onnxruntime==1.31.1
library=$("$python" -c 'import onnxruntime_extensions as e; print(e.get_library_path())')
nm -D --defined-only "$library" | grep ' RegisterCustomOps$' >/dev/null
echo "entry point RegisterCustomOps"
"$python" - "$library" <<'PYTHON'
import sys

import onnxruntime

onnxruntime.SessionOptions().register_custom_ops_library(sys.argv[1])
print("in Python: loaded")
PYTHON
# A program without Python, into which the loader brings the library.
if said=$(LD_PRELOAD="$library" "$(type -P true)" 2>&1); then
    echo "the behaviour has changed: the library loads without Python"
    exit 1
fi
echo "elsewhere: ${said#*: }" | sed "s#$library: ##"
grep -q 'undefined symbol: Py' <<<"$said"
