"""A small reader of LaTeX: what must hold of any text that LaTeX is to accept."""

from __future__ import annotations

import re

_TOKEN = re.compile(
    r"\\(?P<word>[A-Za-z]+)|\\(?P<sign>.)|(?P<comment>(?m:%.*$))|(?P<one>.)", re.DOTALL
)
COMMANDS = {
    *("begin", "end", "centering", "sisetup", "caption", "label", "toprule", "midrule"),
    *("bottomrule", "par", "smallskip", "footnotesize", "bfseries", "dagger"),
    *("textbackslash", "textasciitilde", "textasciicircum", "textless", "textgreater"),
    *("textbar", "textasciigrave", "char", "pm", "leq", "geq", "approx", "times", "ldots"),
}


def problems(text: str) -> list[str]:
    """What is wrong: unbalanced braces, environments or $, unknown commands, bare specials."""
    found: list[str] = []
    depth, math, environments = 0, False, list[str]()
    places = list(_TOKEN.finditer(text))
    for token in places:
        word, one = token["word"], token["one"]
        if word and word not in COMMANDS:
            found.append(f"unknown command \\{word}")
        if word in ("begin", "end"):
            name = re.match(r"\{(\w+)\}", text[token.end() :])
            if name is None:
                found.append(f"\\{word} of nothing")
            elif word == "begin":
                environments.append(name[1])
            elif not environments or environments.pop() != name[1]:
                found.append(f"\\end{{{name[1]}}} of another")
        depth += {"{": 1, "}": -1}.get(one or "", 0)
        math ^= one == "$"
        if depth < 0:
            found.append("a } too many")
        if one in ("#", "~") or (one in ("^", "_") and not math):
            found.append(f"bare {one}")
        if one and (not one.isprintable() and one != "\n"):
            found.append(f"control character {one!r}")
        if token["comment"] and token.start() > 0 and text[token.start() - 1] != "\n":
            found.append("a comment in the middle of a line")
    if depth or math or environments:
        found.append(f"left open: {depth} braces, math {math}, {environments}")
    return found


def cells(text: str) -> list[list[str]]:
    """The rows of the tabular, head first."""
    body = text.split(r"\toprule")[1].split(r"\bottomrule")[0].replace(r"\midrule", "")
    rows = [row.strip() for row in re.split(r"\\\\\n", body) if row.strip()]
    return [[cell.strip() for cell in re.split(r"(?<!\\)&", row)] for row in rows]


def num_columns(text: str) -> int:
    """How many columns the tabular declares."""
    declared = text.split(r"\begin{tabular}{", 1)[1].split("\n", 1)[0]
    without = re.sub(r"\[[^]]*\]|@\{[^}]*\}", "", declared)
    return sum(letter in "Slrc" for letter in without)
