"""Score answers, abstentions and rankings."""

import re
import string
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import regex
from numpy.typing import ArrayLike, NDArray

from labkit.errors import LabError
from labkit.text import SPACED, UNSPACED, plain


@dataclass(frozen=True)
class Metric:
    """How a metric of a comparison is called, what it counts, and whether it is a share from 0 to 1."""

    label: str
    meaning: str
    share: bool = True


METRICS = {
    "accuracy": Metric("accuracy", "the gold value is in the answer, of the questions that have one"),
    "exact_match": Metric("exact match", "the answer is a gold answer, as SQuAD's official script compares them"),
    "f1": Metric("F1", "words shared with a gold answer, as SQuAD's official script counts them"),
    "style": Metric("style", "the answer keeps every rule of the house style"),
    "joint": Metric("joint", "right and in style at once, of the questions that have a gold value"),
    "abstention": Metric("abstention (F1)", "declines exactly where the documents do not say"),
    "recall_at_k": Metric("recall@k", "needed facts among the retrieved passages"),
    "citation": Metric("citation", "right answers that cite a passage which proves them"),
    "latency_ms_p50": Metric("latency p50, ms", "half of the answers come faster, one at a time", False),
    "latency_ms_p95": Metric("latency p95, ms", "nineteen of twenty answers come faster", False),
    "prompt_tokens": Metric("prompt tokens", "read for each question", False),
    "output_tokens": Metric("output tokens", "written for each question", False),
}

QUALITY = ("accuracy", "style", "joint", "abstention")
"""The metrics that say how good answers are, by which arms are set side by side."""


def is_share(metric: str) -> bool:
    """Whether a metric is a share from 0 to 1, as those of no comparison are taken to be."""
    return metric not in METRICS or METRICS[metric].share


def number(metric: str, value: float) -> str:
    """A share with two decimals, anything else whole.

    >>> number("accuracy", 0.5), number("prompt_tokens", 512.4)
    ('0.50', '512')
    """
    return f"{value:.2f}" if is_share(metric) else f"{value:,.0f}"


_INFORMATION = r"(?:information|context|details?|data|evidence)"
_SOURCE = (
    r"(?:documents?|contexts?|passages?|texts?|sources?|excerpts?|articles?|paragraphs?|snippets?|extracts?|records"
    rf"|(?:provided|given|available|supplied|above) {_INFORMATION}|{_INFORMATION} (?:provided|given|available|supplied|above|here))"
)
_SAY = (
    r"(?:say|state|mention|specify|include|contain|provide|give|list|answer|tell|indicate|have|discuss|cover|address|describe"
    r"|explain|reveal|disclose|offer|note|refer)"
)
_SAID = r"(?:said|stated|mentioned|specified|included|contained|provided|given|listed|found|available|known|discussed|covered)"
_FIND_OUT = r"(?:know|find|answer|determine|tell|say|have|see|provide|confirm|verify|identify|establish|infer)"
_DECLINES = re.compile(
    rf"\b{_SOURCE}\b[^.?!]{{0,60}}? (?:do|does|did) not (?:\w+ly |actually )?{_SAY}\b"
    rf"|\b{_SOURCE}\b[^.?!]{{0,40}}? (?:makes? no (?:mention|reference)|lacks?\b|ha(?:s|ve) no\b|gives? no\b|contains? no\b)"
    rf"|\bnot (?:\w+ly )?{_SAID} (?:anywhere )?(?:in|by|from|within) (?:\w+ ){{0,3}}?{_SOURCE}\b"
    r"|\b(?:is|are|was|were) not (?:\w+ly )?(?:mentioned|specified|stated|disclosed|publicly known)\b"
    r"|\b(?:no|not any|not enough|insufficient|without (?:more|further|additional)) (?:\w+ ){0,2}?(?:information|context|details?|data) "
    r"(?:about|on|of|for|regarding|concerning|in|is|are|was|given|provided|available|to|that|as)\b"
    r"|\b(?:no|not enough|insufficient) (?:\w+ )?information\b|\bno (?:\w+ )?(?:mention|answer)\b|\bno details\b"
    rf"|\b(?:i|we) (?:do|could|can) not (?:\w+ly )?(?:be )?{_FIND_OUT}\b|\b(?:i|we) have no (?:\w+ )?(?:information|knowledge|idea)\b"
    r"|\b(?:i am|i'm|we are) (?:unsure|not (?:sure|certain|aware|able))\b|\bun(?:able to|clear|answerable)\b"
    rf"|\b(?:not possible|impossible) to (?:\w+ly )?{_FIND_OUT}\b"
    r"|\b(?:can|could) not be (?:\w+ly )?(?:answered|determined|found|established|inferred|known|confirmed|verified|identified)\b"
    rf"|^\W*(?:(?:it|this|that|answer)(?: is|:) )?(?:unknown|unanswerable|n/a|no idea|not {_SAID})\W*$"
)


def abstained(text: str) -> bool:
    """Whether the answer declines, as small and large models word it; an empty answer declines too.

    >>> abstained("The documents do not say."), abstained("It does not include VAT: $42.")
    (True, False)
    """
    light = " ".join(text.casefold().replace("’", "'").split())
    light = light.replace("can't", "can not").replace("cannot", "can not").replace("n't", " not")
    return not light or _DECLINES.search(light) is not None


def f1_abstention(declined: ArrayLike, unanswerable: ArrayLike) -> NDArray[np.float64]:
    """F1 of declining where no answer was there, along the last axis, for many resamples at once; 0 where undefined."""
    declines, expected = np.asarray(declined, bool), np.asarray(unanswerable, bool)
    total = declines.sum(-1) + expected.sum(-1)
    return 2 * (declines & expected).sum(-1) / np.maximum(total, 1)


def normalise(text: str) -> str:
    """Lower case, without punctuation, articles and doubled spaces, as SQuAD 1.1's official scorer has it.

    Rajpurkar et al., EMNLP 2016.

    >>> normalise("The  Delta-4, an engine.")
    'delta4 engine'
    """
    bare = "".join(char for char in text.lower() if char not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def f1(answer: str, gold: str) -> float:
    """Harmonic mean of token precision and recall after SQuAD normalisation, from 0 to 1.

    Two empty texts score 1, as in SQuAD 2.0. Of scripts without spaces each character counts as a token.

    >>> f1("a blue pump", "the blue valve"), f1("北京市海淀区", "北京市")
    (0.5, 0.6666666666666666)
    """
    return overlap(*([t for w in normalise(text).split() for t in _tokens(w)] for text in (answer, gold)))


def _tokens(word: str) -> list[str]:
    """A word as one token, or the characters of an unspaced script in it as one each."""
    return regex.findall(rf"{UNSPACED}|{SPACED}+", word, regex.V1) if regex.search(UNSPACED, word) else [word]


def overlap(answer: Sequence[str], gold: Sequence[str]) -> float:
    """F1 of two lists of tokens; two empty ones are the same."""
    if not answer or not gold:
        return float(answer == gold)
    return 2 * sum((Counter(answer) & Counter(gold)).values()) / (len(answer) + len(gold))


_NO_LETTER, _NO_PART = rf"(?<!{SPACED})(?<!{SPACED}-)", rf"(?!{SPACED})(?!-{SPACED})"
_NO_DIGIT, _NO_MORE = rf"(?<![{SPACED}$€£\-])(?<!\d[.,:/])", rf"(?![{SPACED}%])(?!-{SPACED})(?![.,:/]\d)"


@lru_cache(maxsize=4096)
def _pattern(gold: str) -> regex.Pattern[str]:
    """Match the value as whole tokens: not in a longer word, code, hyphenated name or number.

    A script without spaces has no tokens: there the value may stand anywhere. Thousands may be apart.
    """
    value = plain(gold).strip(" .,;:!?\"'。、「」")
    if not value:
        raise LabError(f"the gold value {gold!r} is empty: give the text that a right answer must contain")
    first, last = (not char.isascii() and regex.match(UNSPACED, char) for char in (value[0], value[-1]))
    left = _NO_DIGIT if value[0].isdigit() else "" if first else _NO_LETTER
    right = _NO_MORE if value[-1].isdigit() else "" if last else _NO_PART
    value = regex.sub(r"(?<![\d.,])\d{1,3}(?: \d{3})+(?!\d)", lambda match: match[0].replace(" ", ""), value)
    value = regex.escape(value, literal_spaces=True)
    value = regex.sub(r"(?<![\d.])[1-9]\d{3,}", lambda match: f"{int(match[0]):,}".replace(",", " ?"), value)
    return regex.compile(left + value + right, regex.V1)


def contains(text: str, gold: str) -> bool:
    """Whether the gold value occurs in `text` as whole tokens, whatever its case and thousands separators.

    Raises LabError for an empty gold value.

    >>> contains("It costs $1,240 a year.", "$1240"), contains("It costs $420.", "$42")
    (True, False)
    """
    return _pattern(gold).search(plain(text)) is not None


def first_mention(text: str, gold: str, rivals: Iterable[str]) -> bool:
    """Whether `gold` is mentioned, and before every rival (for "which of the two" questions).

    Where two start at the same place, the longer name was meant.

    >>> first_mention("Delta is faster than Orion.", "Delta", ["Orion"])
    True
    """
    light = plain(text)
    mentions = {name: match for name in {gold, *rivals} if (match := _pattern(name).search(light))}
    return bool(mentions) and min(mentions, key=lambda name: (mentions[name].start(), -len(mentions[name][0]))) == gold


def ranked(scores: Mapping[str, float]) -> list[str]:
    """Ids by falling score; ties by falling id, the rule of trec_eval.

    >>> ranked({"a": 1.0, "b": 1.0, "c": 2.0})
    ['c', 'b', 'a']
    """
    return sorted(scores, key=lambda item: (scores[item], item), reverse=True)


def _needed(relevant: Collection[str]) -> None:
    if not relevant:
        raise LabError("a question without a relevant passage has no ranking score: leave it out")


def recall_at_k(ranking: Sequence[str], relevant: Collection[str], k: int) -> float:
    """Share of the relevant ids among the first `k`; LabError without any.

    >>> recall_at_k(["a", "b", "c"], {"b", "c"}, k=2)
    0.5
    """
    _needed(relevant)
    return len(set(ranking[:k]) & set(relevant)) / len(set(relevant))


def mrr(ranking: Sequence[str], relevant: Collection[str]) -> float:
    """1 / rank of the first relevant id, or 0; its mean over questions is the MRR.

    >>> mrr(["a", "b", "c"], {"b", "c"})
    0.5
    """
    _needed(relevant)
    return next((1 / rank for rank, item in enumerate(ranking, start=1) if item in relevant), 0.0)


def average_precision(ranking: Sequence[str], relevant: Collection[str]) -> float:
    """The mean, over all relevant ids, of the precision at the rank of each, 0 for one not found; its mean is MAP.

    >>> average_precision(["a", "b", "c"], {"b", "c"})
    0.5833333333333333
    """
    _needed(relevant)
    ranks = [rank for rank, item in enumerate(ranking, start=1) if item in relevant]
    return sum(n / rank for n, rank in enumerate(ranks, start=1)) / len(relevant)


def ndcg_at_k(ranking: Sequence[str], relevant: Collection[str] | Mapping[str, float], k: int) -> float:
    """Discounted gain of the first `k` over the best possible; a mapping gives grades (linear gain).

    Järvelin & Kekäläinen, TOIS 2002, as trec_eval has it. LabError without relevant ids.
    """
    _needed(relevant)
    gains = dict(relevant) if isinstance(relevant, Mapping) else dict.fromkeys(relevant, 1.0)
    gained = np.array([gains.get(item, 0.0) for item in ranking[:k]])
    best = np.array(sorted(gains.values(), reverse=True)[:k])
    discount = 1 / np.log2(np.arange(2, k + 2))
    return float(gained @ discount[: len(gained)] / (best @ discount[: len(best)]))
