# SPDX-License-Identifier: Apache-2.0
"""What a case's serial line, figures and screen must say: each check returns a list of problems."""
import re

import screen
from bochs import DEFAULT_CPU, parse_result, tsc_hz
from case_list import repeat

# Text that no serial output may contain, whatever the case expects.
FORBID = [r"^(\[\S+\] )?(FAIL|ERROR|SKIP)\b", r"Umbra stopped", r"\bpanic\b", r"Kernel panic"]
# Forbidden too, unless the same kernel prints it on the same machine without Umbra.
COMPLAINTS = [r"BUG:", r"WARNING: CPU", r"unchecked MSR access", r"Call Trace",
              r"Unhandled|unhandled", r"rcu: INFO", r"blocked for more than",
              r"clocksource .* unstable", r"nobody cared"]
REPORT_LINES = 10


def serial_text(data):
    """The lines of a serial log, without the firmware's cursor movements."""
    text = data.decode("utf-8", "replace")
    text = re.sub(r"\x1b\[[0-9;=?!]*[A-Za-z]", "", text)
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def check_text(case, text, is_known=lambda line: False):
    problems = []
    for pattern in case["expect"]:
        if not re.search(pattern, text, re.M):
            problems.append(f"the serial line lacks: {pattern}")
    for patterns in case["order"]:
        at = 0
        for pattern in repeat(patterns):
            match = re.compile(pattern, re.M).search(text, at)
            if not match:
                problems.append(f"the serial line lacks, after the {at} bytes before: {pattern}")
                break
            at = match.end()
    for pattern, low, high in case["bounds"]:
        found = list(re.finditer(pattern, text, re.M))
        if not found:
            problems.append(f"the serial line lacks: {pattern}")
        for match in found:
            value = sum(int(group) for group in match.groups())
            if not low <= value <= high:
                problems.append(f"{value} is not {low} to {high}: {match.group()}")
    for pattern, start, least in case["same"]:
        begin = re.search(start, text, re.M)
        found = [match.groups() for match in re.finditer(pattern, text[begin.end():], re.M)
                 ] if begin else []
        if len(found) < least:
            problems.append(f"behind {start}: {len(found)} times, not {least}: {pattern}")
        for number, groups in enumerate(found):
            if groups != found[0]:
                problems.append(f"number {number + 1} says {groups}, the first {found[0]}: "
                                f"{pattern}")
                break
    for pattern in case.get("forbid", FORBID) + case.get("forbid_more", []):
        if line := next(lines_with(pattern, text), None):
            problems.append(f"the serial line says: {line[:160]}")
    problems += check_errors(case, text)
    usual = [] if "forbid" in case else COMPLAINTS
    for pattern in usual + case.get("complaints", []):
        if line := next((line for line in lines_with(pattern, text) if not is_known(line)), None):
            problems.append(f"the kernel complains, and does not without Umbra: {line[:160]}")
    return problems


def check_errors(case, text):
    """Errors of Umbra, including an unexpected end of a VM, that no pattern of the case matches.
    Registers are logged before the sentence with the reason; after a panic more lines follow."""
    patterns = case["expect"] + case.get("errors", []) + [rule[0] for rule in case["bounds"]]
    patterns += [part for rule in case["same"] for part in rule[:2]]
    patterns += [part for parts in case["order"] for part in repeat(parts)]
    if any("PANIC" in pattern for pattern in patterns):
        return []
    lines = re.finditer(r"^.*umbra: error: (?!  |vm \S+: vCPU).*\n?", text, re.M)
    return [f"unexpected error: {line[0].strip()[:160]}" for line in lines
            if not any(is_in(pattern, line[0]) for pattern in patterns)  # first: it is quick
            and not any(spans(pattern, line, text) for pattern in patterns)]


def is_in(pattern, line):
    """Does the pattern match in the line? For "{N}" at its end one match is enough."""
    return re.search(re.sub(r"\{[0-9,]+\}$", "", pattern), line, re.M)


def spans(pattern, line, text):
    """Does the pattern match less often without the line? A pattern that spans many lines does not
    expect the lines in its gaps."""
    if not re.search(r"\\[nsS]", pattern):
        return False
    without = text[:line.start()] + text[line.end():]
    return len(re.findall(pattern, without, re.M)) < len(re.findall(pattern, text, re.M))


def lines_with(pattern, text):
    """The lines of the text in which the pattern matches."""
    for match in re.finditer(pattern, text, re.M):
        yield text[text.rfind("\n", 0, match.start()) + 1:].split("\n", 1)[0]


def read_result(text):
    """Retired instructions of all CPUs at the end, without halts; and how the machine ended."""
    count = end = None
    for line in text.splitlines():
        words = line.split()
        if words[0] in ("mark", "end"):
            count, end = 0, words[1] if words[0] == "end" else None
        elif words[0] == "cpu" and words[2] == "retired":
            count += int(words[3])
    return count, end


def check_reports(case, text):
    """The strict machine must report nothing, or what a control expects."""
    if "reports" not in case:
        return text.splitlines()[:REPORT_LINES]
    return [f"the machine does not report {pattern}" for pattern in case["reports"]
            if not re.search(pattern, text)]


def check_left(case, text):
    """Cache lines dirty under KeyIDs other than 0 when the machine is off, or was reset."""
    figures = {key: int(value) for key, value in re.findall(r"^(dirty|lost) (\d+)$", text, re.M)}
    clean = case["end"] == "power-off" and not case.get("bare")
    left = case.get("left", "none" if clean else "any")
    if left != "any" and figures and (sum(figures.values()) != 0) != (left == "some"):
        return [f"dirty under a KeyID: {figures['dirty']} lines at the end, {figures['lost']} lost "
                f"by resets; there have to be {left}"]
    return [] if figures or "left" not in case else ["the machine does not count dirty lines"]


def figure(section, what):
    """The count for all CPUs since power-on: "retired" and the like, or exits for one reason."""
    return sum(cpu[what] if what in cpu else section["exits"].get(number, {}).get(what, 0)
               for number, cpu in section["cpus"].items())


def check_even(case, text, said):
    """Compares the counts in spans of the run, each from one mark to another."""
    problems = []
    marks = {section["text"]: section for section in parse_result(text)}
    for rule in case.get("even", []):
        lost = {mark for span in rule["spans"] for mark in span} - marks.keys()
        if lost:
            problems.append(f"the serial line lacks: {sorted(lost)}")
            continue
        found = [figure(marks[last], rule["what"]) - figure(marks[first], rule["what"])
                 for first, last in rule["spans"]]
        said.append(f"{rule['what']}: " + ", ".join(f"{value:,}" for value in found))
        if "most" in rule and max(found) > rule["most"]:
            problems.append(f"{said[-1]}; at most {rule['most']} are allowed")
        apart = max(found) - min(found) - rule.get("slack", 0)
        if "percent" in rule and apart * 100 > rule["percent"] * min(found):
            problems.append(f"{said[-1]}; they differ by more than {rule['percent']} %")
    return problems


def check_waiting(case, result, text, said):
    """What percentage of Umbra's own work its CPUs spent waiting for each other. The log has the
    waiting time in microseconds of the TSC, which counts instructions on this machine."""
    if "waiting" not in case:
        return []
    rule = case["waiting"]
    sections = parse_result(result)
    start = next((section for section in sections if section["text"] == rule["from"]), None)
    waited = re.findall(r"CPUs have waited (\d+) us for each other", text)
    if start is None or not waited:
        return [f"the serial line lacks {rule['from']!r}, or what the CPUs have waited"]
    root = figure(sections[-1], "root") - figure(start, "root")
    mega = int(waited[-1]) * tsc_hz(case.get("cpu", DEFAULT_CPU)) / 1e12
    percent = mega * 1e8 / root
    said.append(f"waiting: {mega:,.1f} M of {root / 1e6:,.0f} M instructions in root mode, "
                f"{percent:.2f} %; at most {rule['most']} % are allowed")
    return [said[-1]] if percent > rule["most"] else []


def check_budget(case, count):
    if "budget" not in case:
        return [] if case["machine"] != "bochs" or "command" in case else ["it has no budget"]
    if count is None:
        return ["the machine left no figures"]
    if count > case["budget"] * 1_000_000:
        return [f"{count / 1e6:,.0f} M instructions, the budget is {case['budget']:,} M"]
    return []


def check_screen(case, folder, font):
    path = folder / "out" / "screen.png"
    if not path.exists():
        return ["there is no picture of the screen"]
    text = screen.read(path, font)
    (folder / "screen.txt").write_text(text)
    return [f"the screen does not show: {words}" for words in case["screen"]
            if not re.search(words, re.sub(r"\s+", " ", text))]
