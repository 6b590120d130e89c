"""Section `embed`: which network makes the embeddings."""

from typing import Annotated

from pydantic import Field, model_validator

from darkroom.core.params.section import Positive, Section


class EmbedParams(Section):
    """Which network makes the embeddings."""

    network: str
    layer: str | None
    pool_size: Positive
    alpha: Annotated[float, Field(gt=0)] | None

    @model_validator(mode="after")
    def _bundled_is_whole(self) -> "EmbedParams":
        whole = (self.layer, self.pool_size, self.alpha) == (None, 1, None)
        if self.network == "bundled" and not whole:
            raise ValueError(
                "with network: bundled, layer must be null, pool_size 1 and alpha null; they are"
                " for networks of keras.applications"
            )
        return self
