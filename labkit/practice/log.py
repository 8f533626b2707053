"""Learn from the log: what its words mean, what its searches confuse, and whether knowing it helps. Introduced in 20_log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labkit.compare.score import score
from labkit.compare.training import holds
from labkit.hub import pinned
from labkit.practice.log_month import halves, last_month, own_words
from labkit.quiet import quiet
from labkit.rag.embed import load_embedder
from labkit.rag.retrieve import STOP_WORDS, words
from labkit.stats import Interval, paired_bootstrap

if TYPE_CHECKING:
    import pandas as pd

    from labkit.data import Item
    from labkit.lab import Lab


def unknown(question: str, known: Collection[str]) -> list[str]:
    """The words of a question that are not among those known; no stop words, no single letters.

    >>> unknown("How many bucks is the Delta?", {"delta", "price"})
    ['bucks']
    """
    return [word for word in dict.fromkeys(words(question)) if word not in STOP_WORDS | set(known) and len(word) > 1]


def mine(answered: Sequence[tuple[str, str]], terms: Iterable[str], top: int = 2) -> dict[str, list[str]]:
    """What the documents say for each term, learned from pairs of a question and its right passage.

    The `top` words that stand more often in the right passages of questions with the term than in all of them, and
    twice at least. A term without any is left out. Introduced in 20_log.

    >>> mine([("How many bucks is A?", "Price of A"), ("How many bucks is B?", "Price: B")], ["bucks"])
    {'bucks': ['price']}
    """
    said = [set(unknown(right, words(question))) for question, right in answered]
    usual, found = Counter(chain(*said)), {}
    for term in terms:
        beside = [some for (question, _), some in zip(answered, said, strict=True) if term in words(question)]
        counts = Counter(chain(*beside))
        lift = {w: n / len(beside) - usual[w] / len(said) for w, n in counts.items() if n > 1 and not w.isdigit()}
        if best := sorted((w for w in lift if lift[w] > 0), key=lambda w: (-lift[w], w))[:top]:
            found[term] = best
    return found


def expand(question: str, synonyms: Mapping[str, Sequence[str]], top: int = 2) -> str:
    """The question with the `top` words that most of its own words stand for.

    >>> expand("How many bucks is the Delta?", {"bucks": ["price"]})
    'How many bucks is the Delta? price'
    """
    own = words(question)
    added = Counter(word for term in own for word in synonyms.get(term, ()) if word not in own)
    return " ".join([question, *(word for word, _ in added.most_common(top))])


def reread(lab: Lab, items: Sequence[Item], synonyms: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """RAG's answers to items in people's own words, expanded: a row for each as `score` has it, with two columns more.

    `first`: the first passage states the fact; `sent`: the question as it was asked.
    """
    import pandas as pd

    asked = own_words(items)
    sent = [expand(question, synonyms) for _, question in asked]

    def make() -> list[dict[str, Any]]:
        told = zip(asked, lab.arm("rag").answer(sent), strict=True)
        return [{**score(item, a), "first": holds(a.hits[0], item.evidence[0])} for (item, _), a in told]

    return pd.DataFrame(make()).assign(sent=sent)


def complaints(lab: Lab, rows: pd.DataFrame) -> list[str]:
    """The words of answers rated down that no document holds, the commonest first."""
    known = {word for chunk in lab.vectors.chunks for word in words(chunk.embedding_text)}
    failed = rows.question[rows.rating == "down"]
    return [word for word, _ in Counter(word for question in failed for word in unknown(question, known)).most_common()]


def learn(lab: Lab) -> dict[str, list[str]]:
    """The synonyms that last month's log teaches."""
    rows = last_month(lab)
    known = rows[rows.right != ""]
    return mine(list(zip(known.question, known.right, strict=True)), complaints(lab, rows))


def confusions(lab: Lab, rows: pd.DataFrame) -> pd.DataFrame:
    """What search takes for another: columns anchor (a logged question), positive (a passage that states the fact) and
    negative (the best of its sources that does not). Introduced in 20_log.
    """
    import pandas as pd

    texts = {chunk.id: chunk.embedding_text for chunk in lab.vectors.chunks}
    some = [(row, next((s for s in row.sources if s not in row.stated), None)) for row in rows.itertuples()]
    made = [(row.question, texts[row.stated[0]], texts[wrong]) for row, wrong in some if row.stated and wrong]
    return pd.DataFrame(made, columns=["anchor", "positive", "negative"])


def train_embedder(lab: Lab, triplets: pd.DataFrame, rate: float = 5e-5) -> Path:
    """The folder of the lab's embedder, trained for one pass over triplets as `confusions` gives them.

    The right passage against the negatives and the other right passages of a batch of 16 (multiple negatives ranking
    loss, Henderson et al. 2017, arXiv:1705.00652). Introduced in 20_log.

    >>> variant(lab, embedder=str(train_embedder(lab, confusions(lab, rows))))
    """

    def build(folder: Path) -> None:
        from datasets import Dataset
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
        from transformers.trainer_callback import PrinterCallback

        model = load_embedder(pinned(lab.profile.embedder)).model
        with quiet():
            model.model_card_data.widget = [{}]  # else examples for a card are computed
            settings = SentenceTransformerTrainingArguments(
                str(folder),
                num_train_epochs=1,
                per_device_train_batch_size=16,
                learning_rate=rate,
                batch_sampler="no_duplicates",  # three wordings share a passage, which is no negative of its own
                bf16=lab.embedder.dtype == "bfloat16",
                use_cpu=model.device.type == "cpu",
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=0,
            )
            rows, loss = Dataset.from_pandas(triplets, preserve_index=False), MultipleNegativesRankingLoss(model)
            trainer = SentenceTransformerTrainer(model, settings, rows, loss=loss)
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            model.save(str(folder), create_model_card=False)

    parts = {"embedder": lab.embedder.fingerprint, "rate": rate, "rows": triplets.to_dict("list")}
    return lab.artifacts.folder(build, what="embedder trained on confusions", **parts)


def gain(before: pd.DataFrame, after: pd.DataFrame, column: str = "correct") -> Interval:
    """How much more is correct, or retrieved, after than before, with its interval over questions; wordings are averaged."""
    return paired_bootstrap(*(rows.groupby("id", sort=False)[column].mean() for rows in (after, before))).interval


def figures(lab: Lab) -> dict[str, Interval]:
    """What the claims about the log need, each by its name in claims.yaml."""
    held_out = halves(lab)[1]
    before, after = reread(lab, held_out, {}), reread(lab, held_out, learn(lab))
    return {"accuracy on held-out questions, after mining the log less before: rag": gain(before, after)}
