"""The built server as a process, and an HTTP client for it."""

import http.client
import json
import queue
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import quote

import onnx
import tritonclient.http
from tritonclient.utils import np_to_triton_dtype

SECONDS_MAX = 30
STARTED = re.compile(r"HTTP on (\S+?),")
LOCAL = "127.0.0.1:0"
# Requests within this time share a run, if the model batches at all.
SETTINGS = "batching = { max_delay_us = 3000 }\n"
LOG_LINES_KEPT = 10


class Refused(Exception):
    """The server returned an error."""


class Died(Exception):
    """The server has died, or hangs."""


class Server:
    """A server that loads models by name."""

    def __init__(self, binary, folder):
        self.folder = Path(folder)
        self.lines = []
        command = [binary, "--models", folder, "--model-control", "explicit"]
        for port in ["--http", "--grpc", "--metrics"]:
            command += [port, LOCAL]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        addresses = queue.Queue()
        threading.Thread(target=self.read_log, args=[addresses], daemon=True).start()
        address = addresses.get(timeout=SECONDS_MAX)
        if address is None:
            raise Died(f"the server does not start: {' | '.join(self.lines)}")
        self.address = address

    def read_log(self, addresses):
        """Keeps the last lines of the log, and finds the server's address."""
        for line in self.process.stderr:
            self.lines = [*self.lines[1 - LOG_LINES_KEPT :], line.strip()]
            if found := STARTED.search(line):
                addresses.put(found[1])
        addresses.put(None)

    def connect(self):
        """A new connection for one caller."""
        return http.client.HTTPConnection(self.address, timeout=SECONDS_MAX)

    def post(self, path, body=b""):
        """Response of the server to a command."""
        return self.ask(self.connect(), "POST", path, body)

    def get(self, path):
        """Response of the server to a GET."""
        return json.loads(self.ask(self.connect(), "GET", path)[0])

    def ask(self, connection, method, path, body=None, headers=None):
        """Body and headers of a response."""
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            said = answer.read()
        except TimeoutError as error:
            raise Died(f"no answer within {SECONDS_MAX} s: {self.last_words()}") from error
        except (OSError, http.client.HTTPException) as error:
            if self.is_gone():
                raise Died(f"status {self.process.returncode}: {self.last_words()}") from error
            raise Refused(f"the connection breaks: {error!r}") from error
        if answer.status != 200:
            raise Refused(f"status {answer.status}: {said[:400].decode(errors='replace')}")
        return said, answer

    def is_gone(self):
        """Returns True if the process has ended; waits a moment for one that is ending."""
        for _ in range(20):
            if self.process.poll() is not None:
                return True
            time.sleep(0.02)
        return False

    def last_words(self):
        """The end of the log, in a line."""
        return " | ".join(self.lines[-3:])

    def stop(self):
        """Ends the process in any state."""
        self.process.kill()
        self.process.wait()


class Served:
    """A model that the server has loaded."""

    def __init__(self, server, name, model, settings=""):
        self.server = server
        self.path = f"/v2/models/{quote(name)}"
        self.name = name
        version = server.folder / name / "1"
        version.mkdir(parents=True, exist_ok=True)
        onnx.save(model, version / "model.onnx")
        (server.folder / name / "model.toml").write_text(settings)
        server.post(f"/v2/repository/models/{quote(name)}/load", b"{}")

    def batch_size_max(self):
        """Most rows of a run; 0 if requests never share one."""
        return self.server.get(f"{self.path}/config").get("max_batch_size", 0)

    def largest_batch(self):
        """Most rows of a run so far."""
        stats = self.server.get(f"{self.path}/stats")["model_stats"][0]
        return max((int(size["batch_size"]) for size in stats.get("batch_stats", [])), default=0)

    def prepared(self, inputs):
        """A request as bytes, with its headers."""
        sent = []
        for name, array in inputs.items():
            datatype = np_to_triton_dtype(array.dtype)
            made = tritonclient.http.InferInput(name, list(array.shape), datatype)
            sent.append(made.set_data_from_numpy(array))
        body, length = tritonclient.http.InferenceServerClient.generate_request_body(sent)
        headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}
        return body, headers

    def answer(self, request, connection):
        """Outputs by name."""
        body, headers = request
        said, answer = self.server.ask(connection, "POST", f"{self.path}/infer", body, headers)
        length = answer.getheader("Inference-Header-Content-Length")
        parse = tritonclient.http.InferenceServerClient.parse_response_body
        result = parse(said, header_length=int(length) if length else None)
        names = [output["name"] for output in result.get_response()["outputs"]]
        return {name: result.as_numpy(name) for name in names}

    def unload(self):
        """Unloads the model."""
        self.server.post(f"/v2/repository/models/{quote(self.name)}/unload", b"{}")
        shutil.rmtree(self.server.folder / self.name)
