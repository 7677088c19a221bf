#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The layers: vmm/base < vmm/console < vmm/host < crypto < ept < vmm < guest < boot. A file
includes and calls only layers to its left.

layers.py [OBJECT_DIR]: checks the #include lines of the product. With OBJECT_DIR (the product's
objects, laid out like the sources) also checks that no object uses a symbol of a layer to its
right.
"""
import pathlib
import re
import subprocess
import sys

LAYERS = ["vmm/base", "vmm/console", "vmm/host", "crypto", "ept", "vmm", "guest", "boot"]
# Headers outside of the layers, and the files that may use them: prefix of the file -> headers.
THIRD_PARTY = {
    "crypto/": ("mbedtls/",),
    "vmm/": ("Zydis/", "Zycore/", "stb/stb_sprintf.h"),
    "boot/efi_": ("efi.h", "efilib.h", "efiapi.h", "efiprot.h", "efierr.h", "efipciio.h"),
}
FREESTANDING = {"stdbool.h", "stddef.h", "stdint.h", "stdarg.h", "limits.h", "immintrin.h"}
# Only ept/ maps guest frames.
FRAME_DOOR = re.compile(r"\bhost_temp_(map|unmap)\s*\(")
DOOR_OWNERS = (LAYERS.index("vmm/host"), LAYERS.index("ept"))
# Any file may find the machine broken: these functions never return, so nothing is built on them.
ENDS = set(re.findall(r"^_Noreturn void (\w+)\(",
                      pathlib.Path("vmm/base/panic.h").read_text(), re.M))

problems = []


def complain(where, what):
    problems.append(f"{where}: {what}")


def layer_of(path):
    """Index into LAYERS, or None for a file that is not part of the product."""
    inside = [layer for layer in LAYERS if str(path).startswith(layer + "/")]
    return LAYERS.index(max(inside, key=len)) if inside else None


def sources(*endings):
    for folder in sorted({layer.split("/")[0] for layer in LAYERS}):
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.suffix in endings:
                yield path


def third_party(path, name):
    return any(str(path).startswith(prefix) and name.startswith(headers)
               for prefix, headers in THIRD_PARTY.items())


def check_quoted(path, where, name):
    target = layer_of(name)
    if target is None and third_party(path, name):
        return
    if target is None:
        complain(where, f'"{name}" is in no layer; include paths start at the top folder')
    elif not pathlib.Path(name).exists():
        complain(where, f'"{name}" does not exist')
    elif target > layer_of(path):
        complain(where, f'"{name}": {LAYERS[layer_of(path)]} may not know {LAYERS[target]}')
    elif name.endswith("_priv.h") and pathlib.Path(name).parent != path.parent:
        complain(where, f'"{name}" is private to its folder')


def check_angled(path, where, name):
    if name in FREESTANDING or third_party(path, name):
        return
    complain(where, f"<{name}> is not for this file (see THIRD_PARTY in tests/lint/layers.py)")


def check_includes():
    for path in sources(".c", ".h"):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            where = f"{path}:{number}"
            if match := re.match(r'\s*#\s*include\s+"([^"]+)"', line):
                check_quoted(path, where, match[1])
            elif match := re.match(r"\s*#\s*include\s+<([^>]+)>", line):
                check_angled(path, where, match[1])
            elif FRAME_DOOR.search(line) and layer_of(path) not in DOOR_OWNERS:
                complain(where, "guest frames are mapped by ept/ alone (use gmem_*)")


def symbols(objects):
    """Object file -> (defined, undefined) global names."""
    result = {}
    if not objects:
        return result
    out = subprocess.run(["nm", "-A", "-g", *map(str, objects)], check=True, text=True,
                         capture_output=True).stdout
    for line in out.splitlines():
        name, _, rest = line.partition(":")
        kind, symbol = rest.split()[-2:]
        defined, undefined = result.setdefault(name, (set(), set()))
        (undefined if kind in "Uvw" else defined).add(symbol)
    return result


def check_objects(folder):
    known = {}  # symbol -> (layer, source file)
    users = []
    for path in sources(".c", ".asm"):
        name = folder / (f"{path}.o" if path.suffix == ".asm" else f"{path.with_suffix('')}.o")
        if not name.exists():
            continue
        for defined, undefined in symbols([name]).values():
            known.update({symbol: (layer_of(path), path) for symbol in defined})
            users.append((path, undefined))
    if not users:
        sys.exit(f"layers: no objects under {folder}")
    for path, undefined in users:
        for symbol in sorted(undefined & known.keys()):
            layer, owner = known[symbol]
            if layer > layer_of(path) and symbol not in ENDS:
                complain(path, f"uses {symbol} of {owner}, a layer above")
    third = symbols(sorted((folder / "third").rglob("*.o")))
    script = pathlib.Path("boot/umbra.lds").read_text()
    offered = set().union(*(defined for defined, _ in third.values()), known.keys(),
                          re.findall(r"^\s*(\w+) = ", script, re.M))
    for path, undefined in users:
        for symbol in sorted(undefined - offered):
            # Only boot uses GNU-EFI; the linker reports symbols that are missing there.
            if layer_of(path) != len(LAYERS) - 1 and not symbol.startswith("_"):
                complain(path, f"uses {symbol}, which nothing below defines")
    return len(users)


def main():
    check_includes()
    count = check_objects(pathlib.Path(sys.argv[1])) if len(sys.argv) > 1 else 0
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"layers: {len(problems)} problems")
    print(f"layers: includes{f' and {count} objects' if count else ''} in order")


main()
