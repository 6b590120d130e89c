"""Settings of operations and filters: range, default, and the message about a wrong one."""

from typing import Any, NamedTuple


class Setting(NamedTuple):
    """The range of a setting, both ends allowed, and its default, which tells its kind."""

    low: float
    high: float
    default: float
    odd: bool = False

    def allows(self, value: Any) -> bool:
        """Return whether the value is of the kind of the default, and in range."""
        whole = isinstance(self.default, int)
        number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
        return bool(number and self.low <= value <= self.high and not (self.odd and value % 2 == 0))

    def __str__(self) -> str:
        """Return what is expected."""
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        return f"{'an odd number' if self.odd else kind} from {self.low:g} to {self.high:g}"
