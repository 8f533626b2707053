"""Answers and rankings, against SQuAD's official definitions and ir-measures."""

import collections
import re
import string

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit import LabError, metrics
from labkit.text import words

WORDS = st.lists(st.sampled_from(["a", "the", "An", "pump", "Pump.", "blue,", "4-bar", "$1,240", "  "]), max_size=7)


def official_normalize(text):
    """evaluate-v1.1.py of SQuAD, step for step."""
    lowered = text.lower()
    without_punctuation = "".join(ch for ch in lowered if ch not in set(string.punctuation))
    without_articles = re.sub(r"\b(a|an|the)\b", " ", without_punctuation)
    return " ".join(without_articles.split())


def official_f1(prediction, gold):
    """compute_f1 of SQuAD 2.0's evaluate script."""
    gold_tokens, tokens = official_normalize(gold).split(), official_normalize(prediction).split()
    if len(gold_tokens) == 0 or len(tokens) == 0:
        return int(gold_tokens == tokens)
    same = sum((collections.Counter(gold_tokens) & collections.Counter(tokens)).values())
    if same == 0:
        return 0
    precision, recall = 1.0 * same / len(tokens), 1.0 * same / len(gold_tokens)
    return (2 * precision * recall) / (precision + recall)


@pytest.mark.reference
@given(WORDS, WORDS)
def test_squad_scores_equal_the_official_definition(said, gold):
    said, gold = " ".join(said), " ".join(gold)
    assert metrics.normalise(said) == official_normalize(said)
    assert metrics.f1(said, gold) == pytest.approx(official_f1(said, gold), abs=1e-12)


@pytest.mark.parametrize(
    "text, gold",
    [
        ("It costs $1,240.", "$1240"),
        ("it costs $ 1240 a year", "$1,240"),
        ("Anna Berg’s team", "anna berg"),
        ("A cut of 15 %.", "15%"),
        ("A cut of 15 percent.", "15 %"),
        ("(12 months)", "12 months"),
        ("Use KX-204.", "KX-204"),
        ("At 09:30, sharp", "09:30"),
        ("The site is Porto/Lisbon.", "Lisbon"),
        ("12\u00a0months", "12 months"),
        ("Ask Berg & Co.", "Berg & Co."),
        ("1,240,500 units", "1240500"),
        ("12 500 €", "12,500 €"),
        ("1.234,56 €", "1,234.56"),
        ("The site—Lisbon—is new.", "Lisbon"),
        ("of Bran\u00adwick Hold-\nings", "Branwick Holdings"),
        ("恒星泵由北京市的工厂制造。", "北京市"),
        ("本社は東京都港区にあります。", "東京都"),
        ("ประกันสองปีนับจากวันซื้อ", "สองปี"),
        ("서울에 있습니다", "서울"),
        ("重量为41公斤", "41 公斤"),
        ("−5 °C", "-5"),
    ],
)
def test_contains(text, gold):
    assert metrics.contains(text, gold)


@pytest.mark.parametrize(
    "text, gold",
    [
        ("$420", "$42"),
        ("$42.50", "$42"),
        ("$42,000", "$42"),
        ("112 months", "12 months"),
        ("1,240", "240"),
        ("0.42", "42"),
        ("$42", "42"),
        ("42%", "42"),
        ("12-14 days", "14 days"),
        ("KX-204-B", "KX-204"),
        ("Anna Berg-Holm", "Anna Berg"),
        ("12 months", "12 month"),
        ("09:30", "30"),
        ("Lisbonne", "Lisbon"),
        ("", "Lisbon"),
        ("1.2", "12"),
        ("−5 °C", "5"),
        ("重量为141公斤", "41公斤"),
        ("5½ kg", "51"),
    ],
)
def test_contains_only_whole_tokens(text, gold):
    assert not metrics.contains(text, gold)


@given(st.integers(0, 10**7), st.integers(0, 10**7))
def test_contains_never_confuses_two_numbers(one, other):
    assert metrics.contains(f"It is ${one:,} now.", f"${other}") == (one == other)


def test_scripts_without_spaces_have_their_f1_by_characters():
    said, gold = "工厂在北京市海淀区", "北京市海淀区"
    assert metrics.f1(said, gold) == metrics.overlap(words(said, 1), words(gold, 1)) == 12 / 15
    assert metrics.overlap(words("It weighs 1,240 kg."), words("1.240,0 kg")) == 1 / 3 and metrics.overlap([], []) == 1


def test_an_empty_gold_value_is_refused():
    with pytest.raises(LabError, match="empty"):
        metrics.contains("text", " . ")


def test_first_mention_takes_the_earlier_and_the_longer_name():
    assert metrics.first_mention("Delta beats Orion", "Delta", ["Orion"])
    assert not metrics.first_mention("Orion loses to Delta", "Delta", ["Orion"])
    assert not metrics.first_mention("neither", "Delta", ["Orion"])
    assert metrics.first_mention("Delta Pro wins", "Delta Pro", ["Delta"])
    assert not metrics.first_mention("Delta Pro wins", "Delta", ["Delta Pro"])


DECLINING = [
    "The documents do not say.",
    "The documents don’t say who leads it.",
    "I don't know.",
    "I do not know the answer to that.",
    "I'm not sure.",
    "The provided context does not contain this information.",
    "The context provided does not explicitly mention a price.",
    "There is no information about the Kestrel's weight in the passages.",
    "This is not mentioned in the provided documents.",
    "I cannot answer this based on the given context.",
    "I can't find that in the documents.",
    "I couldn't find it.",
    "We do not have that on record.",
    "It cannot be determined from the text.",
    "Unable to answer.",
    "Not specified.",
    "Unknown",
    "N/A",
    "Unanswerable",
    "Based on the provided information, there is not enough information to answer.",
    "",
]
ANSWERING = [
    "The warranty lasts 12 months.",
    "It does not include VAT: $42.",
    "No, it is not available in blue.",
    "The unknown engineer was Anna Berg.",
    "The pump is not given to leaks.",
    "Customers do not know the code KX-204.",
    "None of the three, only Delta.",
    "No.",
]


@pytest.mark.parametrize("text", DECLINING)
def test_declining_is_seen(text):
    assert metrics.abstained(text)


@pytest.mark.parametrize("text", ANSWERING)
def test_answering_is_not_taken_for_declining(text):
    assert not metrics.abstained(text)


def test_abstention_scores():
    said, true = [1, 1, 0, 0, 1], [1, 0, 1, 0, 1]
    assert metrics.f1_abstention(said, true) == pytest.approx(2 / 3)
    assert metrics.f1_abstention([0, 0], [1, 0]) == metrics.f1_abstention([0, 0], [0, 0]) == 0
    assert metrics.f1_abstention([1, 0], [1, 1]) == metrics.f1_abstention([1, 1], [0, 1]) == pytest.approx(2 / 3)
    assert metrics.f1_abstention([True], [True]) == 1 and metrics.f1_abstention([True], [False]) == 0
    index = np.array([[0, 1, 2, 3, 4], [0, 0, 4, 4, 3]])
    both = metrics.f1_abstention(np.array(said)[index], np.array(true)[index])
    assert both == pytest.approx([2 / 3, 1.0])


@pytest.mark.reference
@pytest.mark.parametrize("ties", [False, True])
def test_rankings_equal_ir_measures(ties):
    rng = np.random.default_rng(20)
    for trial in range(30):
        ids = [f"d{n:02d}" for n in range(40)]
        values = rng.integers(0, 8, 40) if ties else rng.permutation(40)
        scores = dict(zip(ids, values.astype(float).tolist(), strict=True))
        grades = {item: int(rng.integers(1, 4)) for item in rng.choice(ids, rng.integers(1, 9), replace=False)}
        kept = {item: scores[item] for item in rng.choice(ids, 25, replace=False)}
        ranking, k = metrics.ranked(kept), int(rng.integers(1, 30))
        measures = {"r": ir_measures.R @ k, "rr": ir_measures.RR, "n": ir_measures.nDCG @ k, "ap": ir_measures.AP}
        truth = ir_measures.calc_aggregate(measures.values(), {"q": grades}, {"q": kept})
        assert metrics.recall_at_k(ranking, grades, k) == pytest.approx(truth[measures["r"]], abs=1e-9), trial
        assert metrics.mrr(ranking, grades) == pytest.approx(truth[measures["rr"]], abs=1e-9), trial
        assert metrics.average_precision(ranking, grades) == pytest.approx(truth[measures["ap"]], abs=1e-9), trial
        assert metrics.ndcg_at_k(ranking, grades, k) == pytest.approx(truth[measures["n"]], abs=1e-9), trial
        assert metrics.ndcg_at_k(ranking, set(grades), k) == pytest.approx(
            metrics.ndcg_at_k(ranking, dict.fromkeys(grades, 1), k)
        )


def test_a_ranking_score_needs_a_relevant_passage():
    for score in (
        metrics.mrr,
        metrics.average_precision,
        lambda r, s: metrics.recall_at_k(r, s, 1),
        lambda r, s: metrics.ndcg_at_k(r, s, 1),
    ):
        with pytest.raises(LabError, match="relevant"):
            score(["a"], set())


DECLINED = """The information provided does not include the price of the pump.
Based on the given context, it is not possible to determine the year.
There is no mention of a warranty in the passages.
I'm sorry, but I don't have enough information to answer that.
The text doesn't specify who founded the company.
The passage makes no mention of the river's depth.
The article lacks information on this.
This is not stated in the provided documents.
It is not mentioned.
The answer cannot be inferred from the passage.
Unfortunately, the documents do not actually say when it was built.
There isn't any information about that in the context.
The exact number is not specified.
I cannot find this information in the documents.
Without more context, I can't say.
No information is available on this topic.
Answer: unknown
The provided context does not discuss the museum's opening hours.
The documents contain no data on this.
The question is unanswerable based on the documents.
I do not know.
The documents do not say.
We have no information on that.
Sorry, I am not able to answer.
There are no details about the author.
It's unclear from the text."""
ANSWERED = """The price does not include VAT: $42.
The pump is not available in blue; it comes in red.
The contract contains no penalty clause, so the fee is zero.
Paris.
No, the river does not reach the sea.
There is no charge for delivery.
The battery is not included; it costs 12 euros.
It was unknown to Europeans until 1520.
The Danube has no source of that name; it rises in Donaueschingen.
The answer is 42.
He could not find work and moved to Vienna in 1909.
The document says 1903.
No evidence of damage was found, so the warranty is 24 months.
The manual does not require oil.
It does not provide shade; it grows to 3 metres.
She did not answer the letter until 1888.
The law was not passed until 1901.
The museum is not open on Mondays.
Records have shown that no king ruled longer: 72 years.
The machine lacks a fan and weighs 3 kg."""


@pytest.mark.parametrize("text", DECLINED.splitlines())
def test_declining_is_seen_however_a_model_words_it(text):
    assert metrics.abstained(text) and metrics.abstained(text.upper())


@pytest.mark.parametrize("text", ANSWERED.splitlines())
def test_an_answer_with_a_no_in_it_is_an_answer(text):
    assert not metrics.abstained(text)


def test_shares_have_two_decimals_and_counts_none():
    shares = {name for name, metric in metrics.METRICS.items() if metric.share}
    assert metrics.METRICS.keys() - shares == {"latency_ms_p50", "latency_ms_p95", "prompt_tokens", "output_tokens"}
    assert [metrics.number(name, 512.4) for name in ("accuracy", "prompt_tokens", "no metric")] == [
        "512.40",
        "512",
        "512.40",
    ]
