"""The two checks of a model: a request alone, and different requests at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from answers import Alone, NoAnswer, difference, not_carried
from opening import agree, opened, with_rows, with_weights
from serving import SECONDS_MAX, SETTINGS, Died, Refused, Served
from varying import requests_of

ROUNDS = 6
# A random model may repeat its output once, but not often.
AGAIN = 3
# Message of the server about inputs without elements that it does not run.
UNTRIED = "is not run: no trial has shown"
AS_IS, OPENED, WEIGHTS = "as is", "opened", "with weights"


@dataclass
class Finding:
    """Result for a model in one form."""

    name: str
    form: str
    operators: list
    # "same", "wrong", "refused", "died" or "left out".
    end: str = "same"
    why: str | None = None
    batches: bool = False
    largest_batch: int = 0
    details: list = field(default_factory=list)


@dataclass
class Task:
    """A model in one form: its requests, each with the outputs of ONNX Runtime for it alone."""

    finding: Finding
    model: object
    shares: bool | None = None
    alone: list = field(default_factory=list)
    together: list = field(default_factory=list)


def backend_tasks(case):
    """A case of the ONNX project: unchanged, each request alone; opened, also all at once."""
    yield prepared(AS_IS, case, case.model)
    if case.trouble:
        return
    yield prepared(OPENED, case, model := opened(case.model), together_of(case, model))
    inputs = case.sets[0] if case.sets else {}
    if model := with_weights(case.model, inputs):
        first = case.inputs[0].name
        alone = replace(case, model=model, sets=[{first: inputs[first]}])
        yield prepared(WEIGHTS, alone, model, together_of(alone, model))


def folder_tasks(case):
    """An unchanged model: each request alone, and all at once."""
    yield prepared(AS_IS, case, case.model, together_of(case, case.model))


def together_of(case, model):
    """Requests of each caller."""
    if model is None or not case.sets:
        return []
    return list(requests_of(case.sets[0], case.optional, with_rows(model)))


def prepared(form, case, model, together=()):
    """The task; without requests, but with a reason, if the case is skipped."""
    task = Task(Finding(case.name, form, case.operators), model, case.shares)
    why = case.trouble or not_carried(case.model, case.inputs)
    if why is None and model is None:
        why = "no input has rows"
    if why is None:
        try:
            why = answer_all(task, Alone(model), case, together)
        except NoAnswer as error:
            why = str(error)
    if why is not None:
        task.finding.end, task.finding.why = "left out", why
    return task


def answer_all(task, alone, case, together):
    """Adds requests and outputs to the task; returns the reason if there are none."""
    rows = with_rows(task.model)
    for inputs in case.sets:
        if not agree(inputs, rows):
            continue
        pair = pair_of(alone, inputs)
        if pair is None:
            return "it is random: ONNX Runtime answers differently each time"
        task.alone.append(pair)
    for requests in together:
        task.together += first_answered(alone, (each for each in requests if agree(each, rows)))
    return None if task.alone or task.together else "no request that ONNX Runtime answers"


def first_answered(alone, requests):
    """A list of the first request that ONNX Runtime runs; empty if it fails on all."""
    for inputs in requests:
        try:
            pair = pair_of(alone, inputs)
        except NoAnswer:
            continue
        if pair:
            return [pair]
    return []


def pair_of(alone, inputs):
    """A request with its outputs; None if they are random."""
    expected = alone.answer(inputs)
    same = (difference(alone.answer(inputs), expected) is None for _ in range(AGAIN))
    return (inputs, expected) if all(same) else None


def check(task, server):
    """Sends the requests, and completes the finding."""
    finding = task.finding
    settings = SETTINGS if task.together else ""
    try:
        served = Served(server, finding.name, task.model, settings)
    except Refused as error:
        finding.end, finding.why = "refused", f"it is not loaded: {error}"
        return
    finding.batches = served.batch_size_max() > 0
    said = ask_alone(served, task.alone) + ask_together(served, task.together)
    finding.largest_batch = served.largest_batch()
    if any(UNTRIED in detail for kind, detail in said if kind == "refused"):
        finding.end, finding.why = "left out", "it has no elements, and no trial shows that it is safe"
        said = [(kind, detail) for kind, detail in said if UNTRIED not in detail]
    for end in ["refused", "wrong"]:
        details = sorted({detail for kind, detail in said if kind == end})
        if details:
            finding.end, finding.why = end, details[0]
            finding.details += details
    if task.shares is not None and task.shares != finding.batches:
        finding.end = "wrong"
        finding.why = f"requests {'share no' if task.shares else 'share'} runs"
    served.unload()


def ask_alone(served, pairs):
    """Each request once, one after the other."""
    connection = served.server.connect()
    return [told(served, connection, served.prepared(pair[0]), pair[1], "alone") for pair in pairs]


def ask_together(served, pairs):
    """Each request by its own caller, all at the same time, repeatedly."""
    if not pairs:
        return []
    start = threading.Barrier(len(pairs))

    def call(place):
        sent, expected = pairs[place]
        connection, request = served.server.connect(), served.prepared(sent)
        said = []
        try:
            for _ in range(ROUNDS):
                start.wait(SECONDS_MAX)
                said.append(told(served, connection, request, expected, f"caller {place}"))
        except threading.BrokenBarrierError:
            # Another caller has seen the server die, and reports it.
            pass
        except Died:
            start.abort()
            raise
        return said

    with ThreadPoolExecutor(len(pairs)) as pool:
        return [one for said in pool.map(call, range(len(pairs))) for one in said]


def told(served, connection, request, expected, who):
    """Outcome of one request, with a note."""
    try:
        differs = difference(served.answer(request, connection), expected)
    except Refused as error:
        return "refused", f"{who}: {error}"
    return ("wrong", f"{who}: {differs}") if differs else ("same", "")
