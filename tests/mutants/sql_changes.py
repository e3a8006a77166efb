"""Changes of SQL that nobody planted, for mutants.py: a comparison, a condition's link, a lock, an extreme, a constant.

Each is one that the database still accepts: of `=` the one that assigns is left alone, and so is the `and` of `between`.
"""

import re
from pathlib import Path

TOKEN = re.compile(r"--[^\n]*|'(?:[^']|'')*'|\{[^}\s]*\}|\$\d+|[A-Za-z_]\w*|\d+|<>|<=|>=|::|->>?|\|\||\s+|.")
OPPOSITES = {
    "=": "<>", "<>": "=", "<": "<=", "<=": "<", ">": ">=", ">=": ">", "and": "or", "or": "and", "+": "-",
    "greatest": "least", "least": "greatest", "bool_and": "bool_or", "bool_or": "bool_and", "min": "max", "max": "min",
    "true": "false", "false": "true", "desc": "asc",
}
FUNCTIONS = {"greatest", "least", "bool_and", "bool_or", "min", "max"}
CLAUSES = {"select", "set", "from", "where", "on", "order", "group", "having", "returning", "values", "limit"}
# What stands before, what is changed, what becomes of it.
PHRASES = [
    (("is",), ("null",), "not null"),
    (("is",), ("not", "null"), "null"),
    (("is",), ("distinct",), "not distinct"),
    (("is",), ("not", "distinct"), "distinct"),
    ((), ("not", "exists"), "exists"),
    ((), ("exists",), "not exists"),
    (("select",), ("distinct",), ""),
    ((), ("skip", "locked"), ""),
]


def tokens(text):
    """What is neither space nor comment, as (begin, end, lower-case text)."""
    found = ((one.start(), one.end(), one[0].lower()) for one in TOKEN.finditer(text))
    return [one for one in found if not one[2].isspace() and not one[2].startswith("--")]


def changes(text):
    """All changes of a statement, as (begin, end, replacement), in order."""
    listed, words = [], tokens(text)
    # Of each open bracket: the clause it is in, whether the next `=` assigns, whether the next `and` is of a `between`.
    open_brackets = [["", False, False]]
    for at, (begin, end, word) in enumerate(words):
        inner = open_brackets[-1]
        following = [one[2] for one in words[at + 1:at + 6]]
        if word == "(":
            open_brackets.append(["", False, False])
        elif word == ")":
            open_brackets.pop()
        elif word in CLAUSES:
            inner[0], inner[1] = word, word == "set"
        elif word == "," and inner[0] == "set":
            inner[1] = True
        elif word == "between":
            inner[2] = True
        elif word == "and" and inner[2]:
            inner[2] = False
        elif word == "=" and inner[1]:
            inner[1] = False
        elif word == "for" and following[:1] == ["update"]:
            length = 1 + (2 if following[1:2] == ["of"] else 0)
            length += 2 if following[length:length + 2] == ["skip", "locked"] else 0
            listed.append((begin, words[at + length][1], ""))
        elif word in OPPOSITES and (word not in FUNCTIONS or following[:1] == ["("]):
            listed.append((begin, end, OPPOSITES[word]))
        for before, phrase, replacement in PHRASES:
            is_there = tuple(one[2] for one in words[at:at + len(phrase)]) == phrase
            preceding = words[at - 1][2] if at else ""
            if is_there and (preceding in before if before else preceding not in ("is", "not", "if")):
                listed.append((begin, words[at + len(phrase) - 1][1], replacement))
    return sorted(set(listed))


def listed(root, patterns):
    """The changes of all files, as cargo-mutants names its own: (file, name, begin, end, replacement)."""
    for file in sorted(path for pattern in patterns for path in Path(root).glob(pattern)):
        text = file.read_text()
        for begin, end, replacement in changes(text):
            line = text[text.rfind("\n", 0, begin) + 1:text.find("\n", end)].strip()
            what = f"replace {text[begin:end]} with {replacement}" if replacement else f"delete {text[begin:end]}"
            place = f"{file.relative_to(root)}:{text.count(chr(10), 0, begin) + 1}"
            yield str(file.relative_to(root)), f"{place}: {what} in `{line}`", begin, end, replacement
