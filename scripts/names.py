"""What can be seen of a step of the series without building it.

A patch must not call what a later one brings: each function of ours that a touched file
calls is defined in some touched file, each object that a Makefile names has its source,
each header of ours that is included is there, and so is each symbol of Kconfig that a
Makefile asks for.  Who only gives a prototype is told as well.
"""

import functools
import os
import re

CALL = re.compile(r"\b((?:__)?(?:trace_)?(?:arch_)?page_hva_\w+)\s*\(")
COMMENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"', re.DOTALL)


@functools.cache
def code(text):
    """The text without comments and strings."""
    return COMMENT.sub(lambda found: "\n" * found[0].count("\n") or " ", text)


@functools.cache
def defined(text):
    """Names with a definition, a macro or a trace event; a prototype is not enough."""
    # In column 0, or after a type that is there.
    names = set(re.findall(
        r"^(?:[A-Za-z_][\w \t*]*[ \t*])?(\w+)[ \t]*\([^;{}]*\)[^;{}()]*\{", text,
        re.MULTILINE))
    names |= set(re.findall(r"^#[ \t]*define[ \t]+(\w+)", text, re.MULTILINE))
    # A pointer to a function: a member, a parameter or a variable.
    names |= set(re.findall(r"\(\*(\w+)\)\s*\(", text))
    # What makes others: DEFINE_X(name, and TRACE_EVENT(name.
    for pair in re.findall(r"^[A-Z_]+\((\w+)(?:,\s*(\w+))?", text, re.MULTILINE):
        names |= {prefix + name for name in pair for prefix in ("", "trace_")}
    return names


def missing(files):
    """Complaints about the files of a step, {path: text}."""
    sources = {path: code(text) for path, text in files.items()
               if path.endswith((".c", ".h", ".S"))}
    known = set().union(*map(defined, sources.values()))
    for path, text in sources.items():
        for name in sorted(set(CALL.findall(text)) - known):
            yield f"{path} names {name}(), which nothing defines"
        for found in re.findall(r'^\s*#\s*include\s+"([^"]*page_hva[^"]*)"', files[path],
                                re.MULTILINE):
            if os.path.normpath(os.path.join(os.path.dirname(path), found)) not in files:
                yield f"{path} includes {found}, which is not there"
        for found in re.findall(r"^\s*#\s*include\s+<(\S*page_hva\S*)>", text,
                                re.MULTILINE):
            if not any(path.endswith("include/" + found) for path in files):
                yield f"{path} includes <{found}>, which is not there"
    symbols = set(re.findall(r"^(?:menu)?config (\S*PAGE_HVA\S*)", "\n".join(
        text for path, text in files.items() if "Kconfig" in path), re.MULTILINE))
    for path, text in files.items():
        if not path.endswith("Makefile"):
            continue
        for name in sorted(set(re.findall(r"\bCONFIG_(\w*PAGE_HVA\w*)", text)) - symbols):
            yield f"{path} asks for CONFIG_{name}, which no Kconfig has"
        for name in re.findall(r"\b(\S*page_hva\S*)\.o\b", text):
            if os.path.join(os.path.dirname(path), f"{name}.c") not in files:
                yield f"{path} wants {name}.o, and {name}.c is not there"


def entry_points(files, upstream):
    """Functions of ours that files call which are upstream, but those of s390 itself."""
    ours = {name for path, text in files.items()
            if path in ("include/linux/page_hva.h", "mm/page_hva.h")
            for name in defined(code(text))}
    return {name for path, text in files.items() if path in upstream
            for name in CALL.findall(code(text)) if name in ours}
