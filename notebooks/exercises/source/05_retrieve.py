# %% [markdown]
# # 05 · Retrieve: exercises
#
# You will merge rankings and score them, by hand.

# %%
from math import log2

from checks import Question, exercise

# %% [markdown]
# ## 1. Reciprocal rank fusion
#
# A dense search and BM25 score on scales that cannot be compared, but both *rank*. Reciprocal rank fusion adds
# 1 / (k + rank) over the rankings, ranks counted from one. A passage that both find beats one that only one finds, and
# k damps the lead of the first ranks.


# %% tags=["solution"]
@exercise(
    cases=[
        ([["a", "b"], ["b", "c"]], 60),
        ([["a", "b", "c"], ["c", "b", "a"]], 60),
        ([["a", "x", "y", "b"], ["b", "z", "w", "v"], ["q", "a"]], 1),
        ([["a", "b", "c"], ["d", "e", "c"]], 0),
        ([["a"]], 60),
        ([[], []], 60),
    ],
    hint="Add to each passage's sum, do not replace it; the first rank is 1; the highest sum comes first.",
    wrong=[
        ("start=1", "start=0"),
        ("scores.get(passage, 0) + 1 / (k + rank)", "1 / (k + rank)"),
        (", reverse=True", ""),
        ("1 / (k + rank)", "rank"),
    ],
)
def fuse(rankings: list[list[str]], k: int) -> list[str]:
    """The passages of all rankings, best first, by the sum of 1 / (k + rank) over the rankings that hold them.

    Ranks begin at 1. Equal sums stay in the order in which the passages first appeared. `k` may be 0.

    >>> fuse([["a", "b"], ["b", "c"]], 60)
    ['b', 'a', 'c']
    """
    scores: dict[str, float] = {}
    for ranking in rankings:
        for rank, passage in enumerate(ranking, start=1):
            scores[passage] = scores.get(passage, 0) + 1 / (k + rank)
    return sorted(scores, key=scores.__getitem__, reverse=True)


# %% [markdown]
# ## 2. Found at all, and how soon
#
# Recall@k asks what share of the relevant passages is among the first k. The reciprocal rank asks how soon the first
# relevant one comes: 1 for the first place, 1/2 for the second, 0 if none is found.


# %% tags=["solution"]
@exercise(
    cases=[
        (["a", "b", "c", "d"], ["b", "d"], 2),
        (["a", "b", "c", "d"], ["b", "d"], 4),
        (["a", "b"], ["x"], 2),
        (["a", "b"], ["b", "x", "y"], 5),
        (["x", "y", "a"], ["a"], 2),
    ],
    hint="Recall divides by the number of relevant passages, not by k; the reciprocal rank looks at the whole ranking.",
    wrong=[
        ("/ len(relevant)", "/ k"),
        ("enumerate(ranking, start=1)", "enumerate(ranking[:k], start=1)"),
        ("start=1", "start=2"),
        ("ranking[:k]) & set(relevant)", "ranking) & set(relevant)"),
    ],
)
def recall_and_rank(ranking: list[str], relevant: list[str], k: int) -> tuple[float, float]:
    """Recall@k, and the reciprocal rank of the first relevant passage in the whole ranking, 0 without one.

    >>> recall_and_rank(["a", "b", "c"], ["b", "c"], 2)
    (0.5, 0.5)
    """
    recall = len(set(ranking[:k]) & set(relevant)) / len(relevant)
    first = next((1 / rank for rank, passage in enumerate(ranking, start=1) if passage in relevant), 0)
    return recall, first


# %% [markdown]
# ## 3. nDCG
#
# Some passages answer better than others: grade them. The discounted gain adds grade / log2(rank + 1) over the first k.
# Divided by the gain of the best possible ranking, it is 1 at best, whatever the grades.


# %% tags=["solution"]
@exercise(
    cases=[
        (["a", "b"], {"a": 1}, 2),
        (["b", "a"], {"a": 1}, 2),
        (["b", "a", "c"], {"a": 3, "c": 1, "d": 2}, 3),
        (["a", "b", "c"], {"a": 1, "c": 2, "d": 2, "e": 1}, 2),
        (["x", "y"], {"a": 1}, 2),
    ],
    hint="The best ranking holds the highest grades of all relevant passages, found or not, and also ends at k.",
    wrong=[
        ("sorted(grades.values(), reverse=True)[:k]", "sorted(gains, reverse=True)"),
        ("sorted(grades.values(), reverse=True)[:k]", "sorted(grades.values(), reverse=True)"),
        ("log2(rank + 1)", "rank"),
        (" / discounted(best)", " / len(best)"),
    ],
)
def ndcg(ranking: list[str], grades: dict[str, float], k: int) -> float:
    """Discounted gain of the first `k` over that of the best possible ranking; who has no grade gains nothing.

    >>> ndcg(["b", "a"], {"a": 1}, 2)
    0.6309297535714575
    """

    def discounted(values: list[float]) -> float:
        return sum(value / log2(rank + 1) for rank, value in enumerate(values, start=1))

    gains = [grades.get(passage, 0) for passage in ranking[:k]]
    best = sorted(grades.values(), reverse=True)[:k]
    return discounted(gains) / discounted(best)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "Why does fusion add ranks and not scores?",
        [
            "Ranks are more exact than scores.",
            "The scores of two searches are on different scales.",
            "Scores are not known to the dense search.",
        ],
        "b",
        "A cosine and a BM25 score cannot be added without weighing; ranks always can.",
    ),
    Question(
        "A question holds a product code that is nowhere else. Which search is made for it?",
        ["BM25, which looks for the word itself.", "The dense one, which knows meanings.", "Neither."],
        "a",
        "A rare word weighs much in BM25; to an embedder it is a few pieces without meaning.",
    ),
    Question(
        "Recall@5 rises when k in recall@k is raised to 10. What has improved?",
        ["The search.", "The order of the passages.", "Nothing: a longer list holds more."],
        "c",
        "Compare methods at the same k, and weigh a larger k against the longer prompt.",
    ),
]
