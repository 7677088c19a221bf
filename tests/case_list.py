# SPDX-License-Identifier: Apache-2.0
"""Reads tests/cases.toml: each case is checked, and made once for each combination of its matrix.

README.md describes the keys of a case.
"""
import itertools
import re
import tomllib

from bochs import tsc_hz
from machine import MachineError

KEYS = {"name", "group", "matrix", "machine", "cpus", "mem", "cpu", "features", "tme", "fidelity",
        "knobs", "usb", "files", "conf", "host", "vm", "share", "firmware", "bare", "bus", "type",
        "stop", "screen", "screen_at", "ticks", "timeout", "command", "dialog", "expect", "order",
        "bounds", "same", "forbid", "forbid_more", "complaints", "end", "status", "budget",
        "reports", "left", "more_type", "even", "waiting", "errors"}
DEFAULTS = {"group": "test", "machine": "bochs", "cpus": 1, "mem": 1024, "status": 0,
            "timeout": 240, "files": {}, "expect": [], "order": [], "bounds": [], "same": [],
            "screen": [], "end": "power-off"}
FOLDER = "\\umbra\\"  # of the files that umbra.conf names


class CaseError(Exception):
    """The case itself is wrong, or something that it needs is missing."""


def section(head, rows):
    """A section of umbra.conf. A list stands for several rows with the same key."""
    lines = [f"[{head}]"]
    for key, values in rows.items():
        for value in values if isinstance(values, list) else [values]:
            is_file = key in ("kernel", "initrd", "disk") and not value.startswith("\\")
            lines.append(f"{key} = {FOLDER if is_file else ''}{value}")
    return "".join(f"{line}\n" for line in lines)


def conf_text(tables, start=""):
    """The text of umbra.conf for the tables `host`, `vm` and `share` of a case, after `start`."""
    text = start
    host = {"exit": "poweroff"} | tables.get("host", {})
    if not start and host["exit"]:
        text += section("host", host)
    for name, rows in tables.get("vm", {}).items():
        rows = {"memory": "", "kernel": "guest.bin"} | rows
        times = rows.pop("times", 1)
        text += "".join(section(f"vm {name}", rows).replace("{n}", str(n + 1))
                        for n in range(times))
    for name, rows in tables.get("share", {}).items():
        text += section(f"share {name}", rows)
    return text


def expand(case, confs):
    """Makes a case for each combination of the matrix."""
    matrix = case.pop("matrix", {})
    start = case.get("conf", "")
    if start in confs:
        start = conf_text(confs[start])
    tables = {key: case.pop(key) for key in ("host", "vm", "share") if key in case}
    if start or tables:
        case["conf"] = conf_text(tables, start)
    for count, *rules in case.pop("more_type", []):
        more = [rule.replace("{n}", str(n)).replace("{next}", str(n + 1))
                for n in range(1, count + 1) for rule in rules]
        case["type"] = case["type"] + more
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


def repeat(rules):
    """The rules for typing, or patterns in order, with "N * RULE" repeated N times."""
    for rule in rules:
        match = re.fullmatch(r"(?:([0-9]+) \* )?(.*)", rule, re.S)
        yield from [match[2]] * int(match[1] or 1)


def check_patterns(case, path):
    """A pattern that begins with a number would also match the end of another: "0 in clear" is in
    "80 in clear". The same is true for a part of a pattern that follows a gap."""
    bounds = [rule[0] for rule in case["bounds"]]
    ordered = [part for parts in case["order"] for part in repeat(parts)]
    for pattern in case["expect"] + ordered + case.get("errors", []) + bounds:
        if re.search(r"(^|\.\*\??|\)\*\??)\(?[0-9]", pattern):
            raise CaseError(f"{path}: case {case['name']}: a number without \\b: {pattern}")


def check_model(case, path):
    """A case whose CPU model has no known clock is refused before anything runs."""
    try:
        if "cpu" in case and case["machine"] in ("bochs", "nested"):
            tsc_hz(case["cpu"])
    except MachineError as problem:
        raise CaseError(f"{path}: case {case['name']}: {problem}") from None


def load_cases(path):
    with open(path, "rb") as file:
        document = tomllib.load(file)
    cases, named = [], {}
    for raw in document["case"]:
        like = raw.pop("like", None)
        if like and like not in named:
            raise CaseError(f"{path}: case {raw.get('name')}: no case above is {like}")
        raw = named.get(like, {}) | raw
        named[raw.get("name")] = dict(raw)
        unknown = raw.keys() - KEYS
        if unknown:
            raise CaseError(f"{path}: case {raw.get('name')}: unknown key {sorted(unknown)}")
        conf = raw.get("conf", "\n")
        if conf not in document["conf"] and "\n" not in conf:
            raise CaseError(f"{path}: case {raw.get('name')}: there is no conf {conf}")
        if raw.get("reports") == []:  # it would accept every report
            raise CaseError(f"{path}: case {raw.get('name')}: reports is empty")
        for case in expand(raw, document["conf"]):
            cases.append({**DEFAULTS, **case})
    names = [case["name"] for case in cases]
    for case in cases:
        check_patterns(case, path)
        check_model(case, path)
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise CaseError(f"{path}: two cases are called {sorted(twice)}")
    return cases
