"""Section `engine`: who does the work."""

from typing import Annotated, Literal

from pydantic import Field

from darkroom.core.params.section import Section


class EngineParams(Section):
    """Who does the work."""

    kind: Literal["local"]
    workers: Annotated[int, Field(ge=0)]
