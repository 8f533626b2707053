"""What the project claims about its speed, each a ratio against a named rival on the same work in the same run.

`make bench` runs every module of this package. Introduced in 14_cost.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One measured claim: `ours` and `theirs` in `unit`; `ratio` above 1 means that we did better."""

    name: str
    rival: str
    ours: float
    theirs: float
    unit: str
    more_is_better: bool = True

    @property
    def ratio(self) -> float:
        """How many times better than the rival."""
        return self.ours / self.theirs if self.more_is_better else self.theirs / self.ours
