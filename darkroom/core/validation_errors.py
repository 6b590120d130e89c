"""What is wrong with settings or their YAML, in words: key or line, expected, got, what to do."""

import difflib
import re
from contextlib import suppress
from datetime import date
from reprlib import Repr
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from darkroom.core.explain import hide_secrets

_WORDS = {
    "bool_type": "expected true or false",
    "dict_type": "expected keys and values, as {key: value}",
    "invalid_key": "expected text for a key",
    "list_type": "expected a list, as [first, second]",
    "model_attributes_type": "expected keys and values, as {key: value}",
    "model_type": "expected keys and values, as {key: value}",
    "string_pattern_mismatch": "expected printable ASCII, no space at its ends",
    "string_too_short": "expected text, not nothing",
    "string_type": "expected text",
}
_shortened = Repr()  # a value may hold itself, or be as large as YAML's aliases make it
_shortened.maxlevel, _shortened.maxlist, _shortened.maxdict = 3, 5, 5
_shortened.maxstring = _shortened.maxother = _shortened.maxlong = 80
_YAML_REMEDY = (
    "correct that line: indent with spaces, and put text that holds `: ` or ` #` in quotes"
)
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>")


def describe_errors(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one line per problem that pydantic found in values for `model`."""
    return [hide_secrets(_describe(problem, model)) for problem in error.errors(include_url=False)]


def _describe(problem: Any, model: type[BaseModel]) -> str:
    location, kind, value = problem["loc"], problem["type"], problem["input"]
    key, expected = _locate(location, model)
    if kind == "extra_forbidden":
        nearest = _nearest(str(location[-1]), _locate(location[:-1], model)[1])
        return f"{key}: unknown key{nearest}; remove it or correct its name"
    if kind == "missing":
        default = "" if "sources" in location else " (git's params.yaml has every key's default)"
        return f"{key}: missing; add it{default}"
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        got = repr(value["kind"])[:80] if "kind" in value else "none"
        return f"{key}: expected `kind`, one of {', '.join(_members(expected))}; got {got}"
    if kind == "value_error":
        error = str(problem["ctx"]["error"])
        return f"{key}: {error}" if key else error
    return f"{key or '(all)'}: {_expected(problem)}; got {_said(value)}{_hint(kind, value)}"


def _expected(problem: Any) -> str:
    if problem["type"] == "too_short":
        return f"expected at least {problem['ctx']['min_length']}"
    words = str(problem["msg"]).replace("Input should be ", "expected ")
    words = re.sub("expected (greater|less)", r"expected a value \1", words)
    return _WORDS.get(problem["type"], words)


def _said(value: Any) -> str:
    """Return a value about as it stands in the file."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, date) else _shortened.repr(value)


def _hint(kind: str, value: Any) -> str:
    """Return what to do where YAML read something else than was meant."""
    if kind == "string_type" and value is not None and not isinstance(value, list | dict):
        return "; put it in quotes"
    if kind in {"int_type", "float_type"} and isinstance(value, str | float):
        with suppress(ValueError):
            number = float(value)
            if isinstance(value, str):
                return f"; write it without quotes: {number:.15g}"
            if number.is_integer():
                return f"; write it in full: {number:.15g}"
    return ""


def _locate(location: tuple[str | int, ...], model: type[BaseModel]) -> tuple[str, Any]:
    """Return the key as a user knows it, and what type belongs there."""
    parts: list[str] = []
    expected: Any = model
    for part in location:
        members = _members(expected)
        if part in members:  # pydantic names the member of a union, a user does not
            expected = members[part]
        elif "[" not in str(part):
            parts.append(str(part))
            expected = _inside(expected, part)
    return ".".join(parts), expected


def _members(union: Any) -> dict[str, Any]:
    """Return the sections of a union by their `kind`."""
    return {
        kind: member
        for member in get_args(union)
        if (field := getattr(member, "model_fields", {}).get("kind"))
        for kind in get_args(field.annotation)
    }


def _inside(kind: Any, part: str | int) -> Any:
    """Return the type at a key of a section, or in a list; None for none."""
    if isinstance(part, int):
        inner = next(iter(get_args(kind)), None)
        return get_args(inner)[0] if get_origin(inner) is Annotated else inner
    fields: dict[str, Any] = {}
    for section in (kind, *get_args(kind)):  # `Costs | None` holds one
        fields |= getattr(section, "model_fields", {})
    return fields[part].annotation if part in fields else None


def _nearest(name: str, section: Any) -> str:
    known = list(getattr(section, "model_fields", {}))
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f", did you mean `{close[0]}`?"
    return f" (known here: {', '.join(known)})" if known else ""


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
        return f": not valid YAML: {error}; {_YAML_REMEDY}"
    said = "a value is not of the kind that its tag says; take out `!!` and the word after it"
    return f": not valid YAML: {said}"


def _describe_place(error: MarkedYAMLError, lines: list[str]) -> str:
    for number, line in enumerate(lines, 1):
        if line.startswith(_CONFLICT):
            remedy = "choose a side and take the marks out"
            return f", line {number}: git's mark of a conflict, `{line[:40]}`; {remedy}"
    mark = error.problem_mark or error.context_mark
    at = mark.line if mark else 0
    problem, remedy = error.problem or "", _YAML_REMEDY
    if twice := re.match(r'found duplicate key "(.*?)" with', problem):
        problem, remedy = f"key `{twice[1]}` stands twice", "keep one of them"
    why = ", ".join(part for part in (problem, error.context) if part)
    if error.context_mark and error.context_mark.line != at:
        why += f" that begins in line {error.context_mark.line + 1}"
    shown = lines[at].strip("\r")[:200] if at < len(lines) else ""
    return f", line {at + 1}: not valid YAML: {why}; {remedy}\n  {shown}"
