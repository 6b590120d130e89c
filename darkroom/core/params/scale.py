"""The scale of ratings, `train.scale` in params.yaml and `scale` in model.json."""

from typing import Annotated

from pydantic import Field, model_validator

from darkroom.core.params.section import Section


class Scale(Section):
    """The scale of ratings: `bins` scores evenly spaced from `low` to `high`."""

    low: float
    high: float
    bins: Annotated[int, Field(ge=2)]

    @model_validator(mode="after")
    def _upwards(self) -> "Scale":
        if not self.low < self.high:
            raise ValueError("low must be below high")
        return self
