"""Section `split`: how much is kept for validation and test."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from darkroom.core.params.section import Section


class SplitParams(Section):
    """How much is kept for validation and test."""

    validation: Annotated[float, Field(ge=0, lt=1)]
    test: Annotated[float, Field(ge=0, lt=1)]
    official: Literal["respect", "ignore"]
    map: dict[str, Literal["train", "validation", "test"]]

    @model_validator(mode="after")
    def _leave_some_to_train(self) -> "SplitParams":
        if self.validation + self.test >= 1:
            raise ValueError("validation + test must be below 1: nothing is left to train on")
        return self
