"""Reading params.yaml: as many of its sections as a model has; a wrong setting stops at once."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from darkroom.core.errors import UserError
from darkroom.core.params.section import Section
from darkroom.core.yaml import read_yaml

FILE = "params.yaml"
Model = TypeVar("Model", bound=Section)


def load_params(root: Path, model: type[Model]) -> Model:
    """Read `params.yaml` and check the sections of `model`. Raises UserError."""
    path = root / FILE
    if not path.exists():
        raise UserError(f"{path} is absent: run from the repository root, where params.yaml lies")
    return check_params(read_yaml(path), model, str(path))


def check_params(values: Any, model: type[Model], where: str = FILE) -> Model:
    """Check the values of a params file. Raises UserError that lists every wrong key."""
    if not isinstance(values, Mapping):
        got = "nothing" if values is None else repr(values)[:40]
        raise UserError(
            f"{where}: expected sections such as `clean:`, got {got}; git's {FILE} has them all"
        )
    try:
        return model.model_validate(values)
    except ValidationError as error:
        from darkroom.core.validation_errors import describe_errors

        problems = "\n".join(f"  {line}" for line in describe_errors(error, model))
        raise UserError(f"{where} has wrong settings:\n{problems}") from error
