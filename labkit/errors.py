"""The exceptions that a learner is meant to read."""


def one_line(error: object, most: int = 120) -> str:
    """The first characters of what an error says, without line breaks, for a message of ours."""
    return " ".join(str(error).split())[:most]


class LabError(Exception):
    """A mistake the user can correct: one line naming the item and the remedy."""


class Unreadable(LabError):
    """A file that yields no text: `reason` as in `labkit.rag.ingest.Rejected`, `detail` on one line."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason, self.detail = reason, " ".join(detail.split())[:120]
        super().__init__(f"{self.reason}: {self.detail}")
