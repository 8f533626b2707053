"""The one exception that a learner is meant to read."""


class LabError(Exception):
    """A mistake the user can mend: one line naming the item and the remedy."""
