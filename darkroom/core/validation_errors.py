"""What is wrong with settings, in words: each problem with its key, expected, got, what to do."""

import difflib
import types
from datetime import date
from reprlib import Repr
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from darkroom.core.explain import hide_secrets

_WORDS = {
    "bool_type": "expected true or false",
    "dict_type": "expected keys and values, as {key: value}",
    "list_type": "expected a list, as [first, second]",
    "model_attributes_type": "expected keys and values, as {key: value}",
    "model_type": "expected keys and values, as {key: value}",
    "string_pattern_mismatch": "expected printable ASCII, no space at its ends",
    "string_too_short": "expected text, not nothing",
    "string_type": "expected text",
}
# What an older params.yaml says otherwise, named where it lacks a key of today's.
_MOVED = {
    "clean.odd_aspect_ratio_below": "; what `odd_aspect_ratio` in clean.reject rejected until now,"
    " sides beyond clean.max_aspect_ratio, is called `too_elongated`"
}
_shortened = Repr()  # a value may hold itself, or be as large as YAML's aliases make it
_shortened.maxlevel, _shortened.maxlist, _shortened.maxdict = 3, 5, 5
_shortened.maxstring = _shortened.maxother = _shortened.maxlong = 80


def describe_errors(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Return one line per problem that pydantic found in values for `model`."""
    found = (_complaint(problem, model) for problem in error.errors(include_url=False))
    return [hide_secrets(line) for line in found]


def _complaint(problem: Any, model: type[BaseModel]) -> str:
    location, kind, value = problem["loc"], problem["type"], problem["input"]
    key = _key(location, model)
    if kind == "extra_forbidden":
        nearest = _nearest(str(location[-1]), _inside_of(model, location[:-1]))
        return f"{key}: unknown key{nearest}; remove it or correct its name"
    if kind == "missing":
        default = "" if "sources" in location else " (git's params.yaml has every key's default)"
        return f"{key}: missing; add it{default}{_MOVED.get(key, '')}"
    if kind in {"union_tag_not_found", "union_tag_invalid"}:
        kinds = ", ".join(_kinds(_inside_of(model, location)))
        got = repr(value["kind"])[:80] if "kind" in value else "none"
        return f"{key}: expected `kind`, one of {kinds}; got {got}"
    if kind == "value_error":
        error = str(problem["ctx"]["error"])
        return f"{key}: {error}" if location else error
    return f"{key}: {_expected(problem)}; got {_said(value)}{_hint(kind, value)}"


def _expected(problem: Any) -> str:
    if problem["type"] == "too_short":
        return f"expected at least {problem['ctx']['min_length']}"
    words = str(problem["msg"]).replace("Input should be ", "expected ")
    words = words.replace("expected greater", "expected a value greater")
    words = words.replace("expected less", "expected a value less")
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
    if kind in {"int_type", "int_parsing", "float_type"} and isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return ""
        return f"; write it without quotes, and in full: {number:.15g}"
    return ""


def _key(location: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """Return the location as a user knows it: pydantic also names the member of a union."""
    parts = []
    for at, part in enumerate(location):
        chosen = _kinds(_inside_of(model, location[:at]))
        if not (part in chosen or "[" in str(part)):
            parts.append(str(part))
    return ".".join(parts) or "(all)"


def _inside_of(model: type[BaseModel], location: tuple[str | int, ...]) -> Any:
    """Return the type that the schema has at a location, None where it has none."""
    found: Any = model
    for part in location:
        found = _inside(found, part)
    return found


def _inside(kind: Any, part: str | int) -> Any:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {Union, types.UnionType}:
        members = [member for member in get_args(kind) if part in _kind_of(member)]
        return members[0] if members else None
    if get_origin(kind) is list:
        return get_args(kind)[0]
    field = getattr(kind, "model_fields", {}).get(part)
    return field.annotation if field else None


def _kinds(kind: Any) -> list[str]:
    """Return the kinds of a union of sections that each have one."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return [name for member in get_args(kind) for name in _kind_of(member)]


def _kind_of(member: Any) -> tuple[str, ...]:
    field = getattr(member, "model_fields", {}).get("kind")
    return get_args(field.annotation) if field else ()


def _nearest(name: str, section: Any) -> str:
    known = list(getattr(section, "model_fields", {}))
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f", did you mean `{close[0]}`?"
    return f" (known here: {', '.join(known)})" if known else ""
