# SPDX-License-Identifier: Apache-2.0
"""Reads tests/cases.toml: each case is checked, and made once for each combination of its matrix.

README.md describes the keys of a case.
"""
import itertools
import re
import tomllib

KEYS = {"name", "group", "matrix", "machine", "cpus", "mem", "cpu", "features", "tme", "fidelity",
        "knobs", "usb", "files", "conf", "firmware", "bare", "bus", "type", "stop", "screen",
        "screen_at", "ticks", "timeout", "command", "dialog", "expect", "bounds", "same", "forbid",
        "forbid_more", "complaints", "end", "status", "budget", "reports", "left", "more_conf",
        "more_type", "even", "errors"}
DEFAULTS = {"group": "test", "machine": "bochs", "cpus": 1, "mem": 1024, "status": 0,
            "timeout": 240, "files": {}, "expect": [], "bounds": [], "same": [], "screen": [],
            "end": "power-off"}


class CaseError(Exception):
    """The case itself is wrong, or something that it needs is missing."""


def expand(case, confs):
    """Makes a case for each combination of the matrix; conf may name a shared text."""
    matrix = case.pop("matrix", {})
    if case.get("conf") in confs:
        case["conf"] = confs[case["conf"]]
    if "more_conf" in case:
        count, text = case.pop("more_conf")
        case["conf"] += "".join(text.replace("{n}", str(n + 1)) for n in range(count))
    for count, *rules in case.pop("more_type", []):
        case["type"] += [rule.replace("{n}", str(n)).replace("{next}", str(n + 1))
                         for n in range(1, count + 1) for rule in rules]
    for values in itertools.product(*matrix.values()):
        words = dict(zip(matrix, values))

        def fill(value):
            if isinstance(value, str):
                for key, word in words.items():
                    value = value.replace("{%s}" % key, str(word))
                return value
            if isinstance(value, list):
                return [fill(item) for item in value]
            if isinstance(value, dict):
                return {fill(key): fill(item) for key, item in value.items()}
            return value

        filled = {key: fill(value) for key, value in case.items()}
        for key in ("cpus", "mem", "timeout"):
            if isinstance(filled.get(key), str):
                filled[key] = int(filled[key])
        for key in ("budget", "bounds", "group"):
            if isinstance(filled.get(key), dict):  # selected by a word of the matrix
                fits = [filled[key][str(word)] for word in words.values()
                        if str(word) in filled[key]]
                filled[key] = (fits or [filled[key]["other"]])[0]
        yield filled


def check_patterns(case, path):
    """A pattern that begins with a number would also match the end of another: "0 in clear" is in
    "80 in clear". The same is true for a part of a pattern that follows a gap."""
    bounds = [rule[0] for rule in case["bounds"]]
    for pattern in case["expect"] + case.get("errors", []) + bounds:
        if re.search(r"(^|\.\*\??|\)\*\??)\(?[0-9]", pattern):
            raise CaseError(f"{path}: case {case['name']}: a number without \\b: {pattern}")


def load_cases(path):
    with open(path, "rb") as file:
        document = tomllib.load(file)
    cases = []
    for raw in document["case"]:
        unknown = raw.keys() - KEYS
        if unknown:
            raise CaseError(f"{path}: case {raw.get('name')}: unknown key {sorted(unknown)}")
        if raw.get("reports") == []:  # it would accept every report
            raise CaseError(f"{path}: case {raw.get('name')}: reports is empty")
        for case in expand(raw, document["conf"]):
            cases.append({**DEFAULTS, **case})
    names = [case["name"] for case in cases]
    for case in cases:
        check_patterns(case, path)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise CaseError(f"{path}: two cases are called {sorted(twice)}")
    return cases
