# %% [markdown]
# # 05 · Retrieve: exercises
#
# You will weigh words, rank the company's documents with BM25, and measure how many of them a search must show.

# %%
import re
from collections import Counter
from functools import cache
from math import log

from checks import Question, exercise, open_lab

lab = open_lab()


def words(text):
    """The words of a text in lower case, without punctuation."""
    return re.findall(r"\w+", text.lower())


@cache
def counts():
    """How often each word stands in each of the company's documents, by the document's id."""
    return {document.id: Counter(words(document.text)) for document in lab.documents}


# %% [markdown]
# ## 1. A rare word weighs more
#
# BM25 adds the weights of the words that a question and a document share. The weight is the *inverse document
# frequency*: log(1 + (N - n + 0.5) / (n + 0.5)), where n of the N documents hold the word. A word that stands in every
# document says little about any of them.


# %% tags=["solution"]
@exercise(
    cases=[("the",), ("falcon",), ("norvale",), ("warranty",), ("unheard",)],
    hint="n counts the documents that hold the word, not how often it stands in them.",
    wrong=[
        ("sum(word in counted for counted in counts().values())", "sum(c[word] for c in counts().values())"),
        ("1 + (", "("),
        ("n + 0.5) / (n + 0.5)", "n + 0.5) / (total + 0.5)"),
    ],
)
def idf(word: str) -> float:
    """The inverse document frequency of a word, in lower case, over the company's documents; see `counts()`.

    >>> round(idf("unheard"), 2)
    5.46
    """
    total = len(counts())
    n = sum(word in counted for counted in counts().values())
    return log(1 + (total - n + 0.5) / (n + 0.5))


# %% [markdown]
# ## 2. Rank the company's documents
#
# The score of a document is the sum, over the question's words, of
#
# idf(word) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / mean length)),
#
# where tf is how often the word stands in the document, and lengths are counted in words. With k1 = 1.5 the tenth
# mention of a word adds little. With b = 0.75 a long document gains less from each mention than a short one.


# %% tags=["solution"]
@exercise(
    cases=[
        ("What guarantee do we give on the Falcon Ivory?", 3),
        ("Who runs the site at which Project Panther Gorge has its office?", 3),
        ("How much revenue did the Laurel Swift have in 2030?", 5),
        ("Which person is responsible for the Larch Antler?", 8),
    ],
    hint="Compute the mean length once, over all documents. A word that the document lacks adds nothing.",
    wrong=[
        ("k1, b = 1.5, 0.75", "k1, b = 1.5, 0.0"),
        ("weights[word] * ", ""),
        ("reverse=True", "reverse=False"),
    ],
    seconds=20,
)
def ranked(question: str, k: int) -> list[str]:
    """The ids of the `k` documents with the highest BM25 score for the question, best first.

    Use `words`, `counts()` and your `idf`. Equal scores keep the order of `counts()`.

    >>> ranked("What guarantee do we give on the Falcon Ivory?", 1)
    ['products/falcon-ivory.html']
    """
    k1, b = 1.5, 0.75
    sizes = {name: sum(counted.values()) for name, counted in counts().items()}
    mean, weights = sum(sizes.values()) / len(sizes), {word: idf(word) for word in words(question)}

    def score(name: str) -> float:
        long = k1 * (1 - b + b * sizes[name] / mean)
        found = [(word, counts()[name][word]) for word in words(question)]
        return sum(weights[word] * tf * (k1 + 1) / (tf + long) for word, tf in found)

    return sorted(counts(), key=score, reverse=True)[:k]


# %% [markdown]
# ## 3. Change k
#
# Recall@k is the share of the documents that a question needs which are among the first k. Measure it at several k, on
# questions that need two documents each. Then explain the curve in the questions below.


# %% tags=["solution"]
@exercise(
    cases=[(1,), (2,), (5,), (20,)],
    hint="Divide by the number of documents that the question needs, not by k; then take the mean over the questions.",
    wrong=[
        ("/ len(needed)", "/ k"),
        ("needed & set(ranked(item.question, k))", "needed & set(ranked(item.question, k)[:1])"),
        ('== "two-hop"', '== "growth"'),
    ],
    seconds=30,
)
def recall(k: int) -> float:
    """The mean recall@k of your `ranked` over the first ten questions of the kind "two-hop" in `lab.questions`.

    A question needs the `document` of each of its `evidence`, each counted once.

    >>> recall(117)
    1.0
    """
    shares = []
    for item in [item for item in lab.questions if item.kind == "two-hop"][:10]:
        needed = {e.document for e in item.evidence}
        shares.append(len(needed & set(ranked(item.question, k))) / len(needed))
    return sum(shares) / len(shares)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "Recall@k never falls when k grows. Why?",
        [
            "A longer list holds all that a shorter one holds, and more.",
            "The search is better with a larger k.",
            "More documents are relevant.",
        ],
        "a",
        "A larger k improves no ranking: compare methods at the same k, and weigh a larger k against the longer prompt.",
    ),
    Question(
        "At k = 1, the recall of a question that needs two documents is at most one half. What follows?",
        [
            "The search is poor.",
            "Recall@1 cannot be 1 on such questions, however good the search is.",
            "The questions must be left out.",
        ],
        "b",
        "Know the best value that a metric can reach before you judge the measured one.",
    ),
    Question(
        "A question holds a product code that is nowhere else. Which search is made for it?",
        ["BM25, which looks for the word itself.", "The dense one, which knows meanings.", "Neither."],
        "a",
        "A rare word weighs much in BM25; to an embedder it is a few pieces without meaning.",
    ),
]
