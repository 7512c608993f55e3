"""The two checks of a model: a request alone, and different requests at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

from answers import Alone, NoAnswer, difference, not_carried
from opening import opened
from serving import SETTINGS, SECONDS_MAX, Refused, Served
from varying import row_requests

ROUNDS = 6
LIKE = "opened"
AS_IS = "as is"


@dataclass
class Finding:
    """What became of a model in one form."""

    name: str
    form: str
    operators: list
    # "same", "wrong", "refused", "died", or "left out".
    end: str = "same"
    why: str | None = None
    batches: bool = False
    largest_batch: int = 0
    requests: int = 0
    details: list = field(default_factory=list)

    def as_dict(self):
        return asdict(self)


@dataclass
class Task:
    """A model in one form, with requests and what ONNX Runtime answers each alone."""

    finding: Finding
    model: object
    pairs: list
    together: bool


def tasks(case, forms):
    """What is to be checked of a case, in each form; a task without pairs is left out."""
    if AS_IS in forms:
        yield task(case, AS_IS, case.model, case.sets, together=False)
    if LIKE in forms:
        model = None if case.trouble else opened(case.model)
        requests = row_requests(case.sets[0]) if case.sets else []
        made = task(case, LIKE, model, requests, together=True)
        yield made


def task(case, form, model, requests, together):
    """The task, or one that is left out and says why."""
    made = Task(Finding(case.name, form, case.operators), model, [], together)
    why = case.trouble or not_carried(case.model, case.inputs)
    if why is None and model is None:
        why = "no input has rows"
    if why is None:
        try:
            made.pairs, why = answered(model, case.sets, requests)
        except NoAnswer as error:
            why = str(error)
    if why is not None:
        made.finding.end, made.finding.why = "left out", why
    made.finding.requests = len(made.pairs)
    return made


def answered(model, sets, requests):
    """The requests that ONNX Runtime answers, each with its answer, or why there are none."""
    alone = Alone(model)
    for inputs in sets:
        if difference(alone.answer(inputs), alone.answer(inputs)):
            return [], "it is random: ONNX Runtime answers differently each time"
    pairs, why = [], "ONNX Runtime answers no request"
    for inputs in requests:
        try:
            expected = alone.answer(inputs)
        except NoAnswer as error:
            why = str(error)
            continue
        if difference(alone.answer(inputs), expected) is None:
            pairs.append((inputs, expected))
    return pairs, None if pairs else why


def check(task, server):
    """Asks the server, and completes the finding."""
    finding = task.finding
    try:
        settings = SETTINGS if task.together else ""
        served = Served(server, task.finding.name, task.model, settings)
    except Refused as error:
        finding.end, finding.why = "refused", f"it is not loaded: {error}"
        return
    finding.batches = served.batch_size_max() > 0
    said = ask_together(served, task.pairs) if task.together else ask_alone(served, task.pairs)
    finding.largest_batch = served.largest_batch()
    for end in ["refused", "wrong"]:
        details = sorted({detail for kind, detail in said if kind == end})
        if details:
            finding.end, finding.why, finding.details = end, details[0], details
    served.unload()


def ask_alone(served, pairs):
    """Each request once, one after the other."""
    connection = served.server.connect()
    return [told(served, connection, served.prepared(sent), want, 0) for sent, want in pairs]


def ask_together(served, pairs):
    """Each request by a caller of its own, all at the same time, again and again."""
    start = threading.Barrier(len(pairs))

    def call(place):
        sent, expected = pairs[place]
        connection, request = served.server.connect(), served.prepared(sent)
        said = []
        for _ in range(ROUNDS):
            start.wait(SECONDS_MAX)
            said.append(told(served, connection, request, expected, place))
        return said

    with ThreadPoolExecutor(len(pairs)) as pool:
        return [one for said in pool.map(call, range(len(pairs))) for one in said]


def told(served, connection, request, expected, place):
    """How one request ended, and what is to be said of it."""
    try:
        differs = difference(served.answer(request, connection), expected)
    except Refused as error:
        return "refused", f"caller {place}: {error}"
    return ("wrong", f"caller {place}: {differs}") if differs else ("same", "")
