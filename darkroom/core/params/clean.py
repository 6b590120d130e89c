"""Section `clean`: what makes an image unusable."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from darkroom.core.params.section import Fraction, Positive, Section

Issue = Literal[
    "too_small", "too_elongated", "blurry", "dark", "light", "low_information", "greyscale",
    "odd_aspect_ratio", "odd_size", "odd_resolution", "odd_file_size", "low_bits_per_pixel",
    "low_jpeg_quality", "uniform_border", "clipped", "colourless", "colour_cast",
    "odd_structure",
]  # fmt: skip


class CleanParams(Section):
    """What makes an image unusable, and the thresholds of the flags."""

    reject: list[Issue]
    min_side_px: Positive
    max_pixels: Positive
    max_aspect_ratio: Annotated[float, Field(ge=1)]
    grey_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    blurry_below: Fraction
    dark_below: Fraction
    light_below: Fraction
    low_information_below: Fraction
    greyscale_below: Fraction
    odd_aspect_ratio_below: Fraction
    odd_size_below: Fraction
    odd_resolution_below: Fraction
    odd_file_size_below: Fraction
    low_bits_per_pixel_below: Fraction
    low_jpeg_quality_below: Fraction
    uniform_border_below: Fraction
    clipped_below: Fraction
    colourless_below: Fraction
    colour_cast_below: Fraction
    timeout_s: Annotated[float, Field(gt=0)]
    max_memory_bytes: Positive
    max_failed_fraction: Fraction

    @model_validator(mode="after")
    def _range_upwards(self) -> "CleanParams":
        if self.grey_range is not None and not self.grey_range[0] < self.grey_range[1]:
            raise ValueError(f"grey_range: expected [black, white], upwards; got {self.grey_range}")
        return self
