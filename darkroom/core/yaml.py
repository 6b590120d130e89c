"""Reading a YAML file for people: no key twice, no silent surprise, every error with its line."""

import re
from pathlib import Path
from typing import Any

import yaml

from darkroom.core.errors import UserError

REMEDY = "correct that line: indent with spaces, and put text that holds `: ` or ` #` in quotes"
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>")


class _Loader(yaml.SafeLoader):
    """PyYAML lets the second of two equal keys win without a word; here it is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping. Raises ConstructorError at a key that stands there twice."""
        lines: dict[str, int] = {}
        pairs = node.value if isinstance(node, yaml.MappingNode) else []  # else PyYAML complains
        for key in [key for key, _ in pairs if isinstance(key, yaml.ScalarNode)]:
            if key.value in lines:
                raise yaml.constructor.ConstructorError(
                    problem=f"key `{key.value}` stands twice, first in line {lines[key.value]}; "
                    "keep one of them",
                    problem_mark=key.start_mark,
                )
            lines[key.value] = key.start_mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        """Return the number. Raises ConstructorError where YAML versions differ: 010, 1:30."""
        digits = node.value.lstrip("+-")
        if ":" in digits or (digits.startswith("0") and digits.strip("0_").isdecimal()):
            raise yaml.constructor.ConstructorError(
                problem=f"{node.value} means different numbers to different readers of YAML;"
                " write it without zeros before it and without a colon",
                problem_mark=node.start_mark,
            )
        return int(super().construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
# `dvc exp run -S train.learning_rate.fine_tune=0.00003` writes 3e-05, which is text in YAML 1.1.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE]-[0-9]+\Z"), list("-+0123456789")
)


def read_yaml(path: Path) -> Any:
    """Return the values of a YAML file. Raises UserError naming file, line and remedy."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}, line {line}: expected UTF-8, got the byte 0x{error.object[error.start]:02x};"
            " save the file as UTF-8"
        ) from error
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise UserError(_explain(path, text, error)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise UserError(
            f"{path}, line {line}: not valid YAML: the character U+{error.character:04X} is not"
            " allowed; remove it"
        ) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {error}; {REMEDY}") from error
    except (TypeError, LookupError, AttributeError) as error:  # what PyYAML makes of `!!bool x`
        raise UserError(
            f"{path}: not valid YAML: a value is not of the kind that its tag says; take out `!!`"
            " and the word after it"
        ) from error


def _explain(path: Path, text: str, error: yaml.MarkedYAMLError) -> str:
    """Return where it broke, why, and the line itself."""
    mark = error.problem_mark or error.context_mark
    number = mark.line if mark else 0
    lines = text.split("\n")
    for at, line in enumerate(lines):
        if line.startswith(_CONFLICT):
            return (
                f"{path}, line {at + 1}: git's mark of a conflict, `{line[:40]}`; choose a side"
                " and take the marks out"
            )
    line = lines[number].strip("\r") if number < len(lines) else ""
    why = ", ".join(part for part in (error.problem, error.context) if part)
    if error.context_mark and error.context_mark.line != number:
        why += f" that begins in line {error.context_mark.line + 1}"
    remedy = "" if ";" in why else f"; {REMEDY}"
    return f"{path}, line {number + 1}: not valid YAML: {why}{remedy}\n  {line[:200]}"
