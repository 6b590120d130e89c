"""What the sections of params.yaml share: the strict base class, and the types of values."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of params.yaml: unknown keys are errors, values never change after reading."""

    # strict: text is no number, a number no boolean; infinity switches nothing off
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class StageParams(Section):
    """The sections that one stage reads; the others are not looked at. scan checks them all."""

    model_config = ConfigDict(extra="ignore")


def _usable(text: str) -> str:
    """Return a name or path as it is. Raises ValueError for one that no file can have."""
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise ValueError(f"expected printable text, got {text[:80]!r}; write it again")
    if "://" not in text and any(len(part.encode()) > 255 for part in text.split("/")):
        raise ValueError(f"expected at most 255 bytes between slashes, got {text[:40]!r} …")
    return text


Name = Annotated[str, Field(min_length=1), AfterValidator(_usable)]  # of a file, column or source
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0, le=2**53)]  # what any system and table can hold
