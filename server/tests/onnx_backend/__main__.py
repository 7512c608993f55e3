"""Compares a built server with ONNX Runtime, on the ONNX project's cases or a folder's models.

Each case is asked as it is, alone; then with its first dimension opened, by eight callers at
once whose rows differ. Every answer has to be the one that ONNX Runtime gives to the request
alone. Exit status: 0 all are, 1 not all.
"""

import argparse
import collections
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from checks import backend_tasks, check, folder_tasks
from collected import backend_cases, folder_cases
from own import own_cases
from serving import Died, Server

WIDTH_MAX = 300


def main():
    """Checks and reports; returns True if all passed."""
    flags = read_flags()
    cases, tasks_of = backend_cases(), backend_tasks
    if flags.models or flags.own:
        cases = folder_cases(flags.models) if flags.models else own_cases()
        tasks_of = folder_tasks
    names = chosen_names(flags)
    tasks = (task for case in cases if not names or case.name in names for task in tasks_of(case))
    with tempfile.TemporaryDirectory() as folder:
        findings = list(check_all(tasks, flags.server, folder))
    if flags.json:
        text = json.dumps([asdict(finding) for finding in findings], indent=1)
        flags.json.write_text(text + "\n")
    return 0 if report(findings) else 1


def read_flags():
    """The command line."""
    parser = argparse.ArgumentParser(prog="onnx_backend", description=__doc__)
    parser.add_argument("server", help="the built skysail-server")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="check these models instead")
    parser.add_argument("--own", action="store_true", help="check small models of our own instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings here")
    parser.add_argument("--case", action="append", metavar="NAME", help="only this; repeatable")
    parser.add_argument("--cases", type=Path, metavar="FILE", help="only those named in a file")
    return parser.parse_args()


def chosen_names(flags):
    """Names of the cases to check; empty for all."""
    lines = flags.cases.read_text().split("\n") if flags.cases else []
    return {line for line in lines if line and not line.startswith("#")} | set(flags.case or [])


def check_all(tasks, binary, folder):
    """Checks each task; a server that dies is reported, and replaced."""
    server = Server(binary, folder)
    try:
        for task in tasks:
            if task.finding.end != "left out":
                try:
                    check(task, server)
                except Died as error:
                    task.finding.end, task.finding.why = "died", str(error)
                    server.stop()
                    server = Server(binary, folder)
            yield task.finding
    finally:
        server.stop()


def report(findings):
    """Prints the results; returns True if all passed."""
    for form in dict.fromkeys(finding.form for finding in findings):
        those = [finding for finding in findings if finding.form == form]
        ends = collections.Counter(finding.end for finding in those)
        batching = [finding for finding in those if finding.batches]
        met = [finding for finding in batching if finding.largest_batch > 1]
        print(f"{form}: {', '.join(f'{count} {end}' for end, count in ends.most_common())}")
        print(f"  {len(batching)} share runs, {len(met)} of them did")
        for reason, count in reasons(those):
            print(f"  {count} left out: {reason}")
    bad = [finding for finding in findings if finding.end not in ("same", "left out")]
    for finding in bad:
        print(f"{finding.end.upper()}: {finding.name} ({finding.form}): {finding.why[:WIDTH_MAX]}")
    return not bad


def reasons(findings):
    """Reasons for skipped cases, the most common first."""
    short = lambda why: why.partition(":")[0]
    left_out = (short(finding.why) for finding in findings if finding.end == "left out")
    return collections.Counter(left_out).most_common()


if __name__ == "__main__":
    sys.exit(main())
