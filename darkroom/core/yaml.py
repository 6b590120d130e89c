"""Reading YAML as DVC does, with its parser: YAML 1.2, where `yes` is text and 3e-05 a number."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from darkroom.core.errors import UserError


def read_yaml(path: Path) -> Any:
    """Return the values of a YAML file. Raises UserError naming file, line and remedy."""
    return parse_yaml(path.read_bytes(), str(path))


def parse_yaml(content: bytes, where: str) -> Any:
    """Return the values of YAML that comes from `where`. Raises UserError as `read_yaml` does."""
    try:
        return YAML(typ="safe", pure=True).load(content.decode("utf-8-sig"))
    # The last three are what the parser makes of a tag that does not fit, as `!!bool many`.
    except (YAMLError, ValueError, RecursionError, TypeError, LookupError, AttributeError) as error:
        from darkroom.core.validation_errors import describe_yaml_error

        raise UserError(f"{where}{describe_yaml_error(error, content)}") from error
