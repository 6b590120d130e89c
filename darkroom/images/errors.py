"""Why an image cannot be used."""


class DecodeError(Exception):
    """An image cannot be used; `reason` is the code that becomes its row's reason.

    Codes: `empty`, `not_an_image`, `unsupported_format`, `truncated`, `corrupt`, `too_many_pixels`,
    `decoder_out_of_memory`.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        """Keep the reason code and a detail for people."""
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail


OUT_OF_MEMORY = "decoder_out_of_memory"


def truncated(detail: str) -> DecodeError:
    """Return the error for a file whose end is missing."""
    return DecodeError("truncated", detail)


def corrupt(detail: str) -> DecodeError:
    """Return the error for a stream that contradicts itself."""
    return DecodeError("corrupt", detail)
