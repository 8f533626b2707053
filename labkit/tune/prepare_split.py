"""Training and test set, parted so that what the test is about was not trained on. Introduced in 07_prepare."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from labkit.errors import LabError
from labkit.tune.leaks import Leak, refuse_leaks
from labkit.tune.pairs import Example


@dataclass(frozen=True)
class Split:
    """Numbers of the examples to train on, to test on, and those that belong to both sides and are used on neither.

    `leaks` are numbered within `train` and `test`; there are none unless they were allowed.
    """

    train: list[int]
    test: list[int]
    dropped: list[int]
    leaks: list[Leak]


def split(
    examples: Sequence[Example],
    by: str | None,
    share: float = 0.2,
    seed: int = 0,
    near: float | None = 0.8,
    allow_leaks: bool = False,
) -> Split:
    """Test on `share` of the values of a tag, and train on the others; without a tag, each example stands alone.

    A tag may hold several values, as a comparison has two entities. Then the questions of both sides are compared
    (`labkit.tune.leaks.leaks`): raises LabError if one leaks, unless `allow_leaks`; also for an example without the tag,
    and for a share that leaves a side empty.

    >>> parts = split(examples, by="entity")
    >>> {examples[i].tags["entity"] for i in parts.train} & {examples[i].tags["entity"] for i in parts.test}
    set()
    """
    keys = [_keys(n, example, by) for n, example in enumerate(examples)]
    groups = sorted({key for own in keys for key in own})
    held = set(Random(seed).sample(groups, round(share * len(groups)) if 0 < share < 1 else 0))
    sides: dict[bool | None, list[int]] = {True: [], False: [], None: []}
    for n, own in enumerate(keys):
        sides[own <= held if own <= held or not own & held else None].append(n)
    train, test, dropped = sides[False], sides[True], sides[None]
    if not train or not test:
        raise LabError(
            f"a share of {share} of {len(groups)} groups leaves {len(train)} to train, {len(test)} to test on"
        )
    asked = [[examples[n].question for n in side] for side in (train, test)]
    return Split(train, test, dropped, refuse_leaks(*asked, near, allow_leaks))


def _keys(n: int, example: Example, by: str | None) -> frozenset[str]:
    """The groups that an example belongs to."""
    if by is None:
        return frozenset({f"{n:09d}"})
    found = example.tags.get(by)
    keys = frozenset(map(str, found)) if isinstance(found, list | tuple) else frozenset({str(found or "")})
    if not keys - {""}:
        raise LabError(f"example {n} has no tag '{by}': its tags are {sorted(example.tags)}")
    return keys
