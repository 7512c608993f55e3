"""Checks a built server against ONNX Runtime, with the ONNX project's cases or a folder's models.

Each case is asked as it is, alone; then with its first dimension opened, by eight callers at
once whose rows differ. Every answer has to be the one that ONNX Runtime gives to the request
alone. Exit status: 0 all are, 1 not all.
"""

import argparse
import collections
import json
import sys
import tempfile
from pathlib import Path

from checks import AS_IS, LIKE, check, tasks
from collected import backend_cases, folder_cases
from serving import Died, Server

NAMES_SHOWN = 40


def main():
    """Checks, reports, and says whether all is well."""
    flags = read_flags()
    cases = folder_cases(flags.models) if flags.models else backend_cases()
    chosen = (case for case in cases if not flags.case or case.name in flags.case)
    forms = [AS_IS, LIKE]
    with tempfile.TemporaryDirectory() as folder:
        findings = list(run(chosen, forms, flags.server, Path(folder)))
    if flags.json:
        text = json.dumps([finding.as_dict() for finding in findings], indent=1)
        flags.json.write_text(text + "\n")
    return 0 if report(findings, forms) else 1


def read_flags():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server", help="the built skysail-server")
    parser.add_argument("--models", type=Path, metavar="FOLDER", help="check these models instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings here")
    parser.add_argument("--case", action="append", metavar="NAME", help="only this; repeatable")
    return parser.parse_args()


def run(cases, forms, binary, folder):
    """Checks each case in each form; a server that dies is noted, and replaced."""
    server = Server(binary, folder)
    for case in cases:
        for task in tasks(case, forms):
            if task.pairs:
                try:
                    check(task, server)
                except Died as error:
                    task.finding.end, task.finding.why = "died", str(error)
                    server = Server(binary, folder)
            yield task.finding
    server.stop()


def report(findings, forms):
    """Prints what came out; whether all is well."""
    for form in forms:
        those = [finding for finding in findings if finding.form == form]
        ends = collections.Counter(finding.end for finding in those)
        batching = [finding for finding in those if finding.batches]
        met = [finding for finding in batching if finding.largest_batch > 1]
        print(f"{form}: {len(those)} cases, {len(batching)} batch, {len(met)} shared a run")
        print(f"  {', '.join(f'{count} {end}' for end, count in ends.most_common())}")
        for reason, count in reasons(those):
            print(f"  left out, {count}: {reason}")
    bad = [finding for finding in findings if finding.end not in ("same", "left out")]
    for finding in bad:
        print(f"{finding.end.upper()}: {finding.name} ({finding.form}): {finding.why}")
    return not bad


def reasons(findings):
    """Why cases are left out, the commonest first."""
    short = lambda why: why.split(" : ")[0].split(" [")[0]
    left_out = (short(finding.why) for finding in findings if finding.end == "left out")
    return collections.Counter(left_out).most_common(NAMES_SHOWN)


if __name__ == "__main__":
    sys.exit(main())
