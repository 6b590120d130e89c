"""What is wrong with a YAML file, in words: the line, why, and what to do."""

import re

from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

REMEDY = "correct that line: indent with spaces, and put text that holds `: ` or ` #` in quotes"
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>")


def describe_yaml_error(error: Exception, content: bytes) -> str:
    """Return what goes behind the file's name: `, line 3: not valid YAML: …`."""
    if isinstance(error, UnicodeDecodeError):
        line = content.count(b"\n", 0, error.start) + 1
        got = f"the byte 0x{error.object[error.start]:02x}"
        return f", line {line}: expected UTF-8, got {got}; save the file as UTF-8"
    text = content.decode("utf-8-sig")
    if isinstance(error, MarkedYAMLError):
        return _describe_place(error, text.split("\n"))
    if isinstance(error, ReaderError):
        line = text.count("\n", 0, error.position) + 1
        said = f"the character U+{error.character:04X} is not allowed; remove it"
        return f", line {line}: not valid YAML: {said}"
    if isinstance(error, YAMLError | ValueError | RecursionError):
        return f": not valid YAML: {error}; {REMEDY}"
    return (
        ": not valid YAML: a value is not of the kind that its tag says; take out `!!` and the word"
        " after it"
    )


def _describe_place(error: MarkedYAMLError, lines: list[str]) -> str:
    for number, line in enumerate(lines, 1):
        if line.startswith(_CONFLICT):
            return (
                f", line {number}: git's mark of a conflict, `{line[:40]}`; choose a side and take"
                " the marks out"
            )
    mark = error.problem_mark or error.context_mark
    at = mark.line if mark else 0
    problem, remedy = error.problem or "", REMEDY
    if twice := re.match(r'found duplicate key "(.*?)" with', problem):
        problem, remedy = f"key `{twice[1]}` stands twice", "keep one of them"
    why = ", ".join(part for part in (problem, error.context) if part)
    if error.context_mark and error.context_mark.line != at:
        why += f" that begins in line {error.context_mark.line + 1}"
    shown = lines[at].strip("\r")[:200] if at < len(lines) else ""
    return f", line {at + 1}: not valid YAML: {why}; {remedy}\n  {shown}"
