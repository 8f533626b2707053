"""Lesson 20's study: a simulated month of the log, what it teaches, and whether knowing it helps. Introduced in 20_log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zlib import crc32

from labkit.compare.experiment import depends
from labkit.compare.score import is_right, score
from labkit.compare.training import holds
from labkit.data import load_pairs, wordings
from labkit.hub import pinned
from labkit.lab import Lab
from labkit.metrics import abstained
from labkit.practice.log import Log, logged
from labkit.quiet import quiet
from labkit.rag.embed import load_embedder
from labkit.rag.ingest import Ingested
from labkit.rag.retrieve import STOP_WORDS, Hit, words
from labkit.stats import Interval, paired_bootstrap

if TYPE_CHECKING:
    import pandas as pd

    from labkit.data import Item

WORDINGS = """
product.price: What's the damage for {e}? | How many bucks is {e}? | What would {e} set me back?
product.warranty: How long do we fix {e} for nothing if it breaks? | If my {n} packs up, how long am I safe? | Until when can I bring back a broken {n}?
product.weight: How many kilos is {e}? | Is {e} a lump to carry around? | What does {e} tip the scales at?
product.battery: How long until {e} runs out of juice? | How long can I use {e} without plugging it in? | How much runtime do I get from {e}?
product.lead: Who's the boss of {e}? | Which guy do I bug about {e}? | Who calls the shots on {e}?
product.code: What does {e} flash up when its juice is nearly gone? | Which message does {e} give me if it's almost flat? | What's the dying signal of {e}?
product.finish: What shade is {e}? | How does {e} look from outside? | What's the livery of {e}?
product.launch: When did {e} come out? | When's the birthday of {e}? | When did {e} hit the market?
product.site: Which plant churns out {e}? | Where do they put {e} together? | Where does {e} get manufactured?
product.sales_2030: How much dough did {e} make us in 2030? | What did we rake in with {e} in 2030? | What were the takings for {e} in 2030?
product.sales_2031: How much dough did {e} make us in 2031? | What did we rake in with {e} in 2031? | What were the takings for {e} in 2031?
site.manager: Who's the boss at {e}? | Who calls the shots at {e}? | Which guy is the chief at {e}?
site.city: Whereabouts is {e}? | Which municipality is {e} in? | Where on the map is {e}?
site.staff: How many folks work at {e}? | How big is the workforce at {e}? | How many heads does {e} have on its payroll?
site.extension: How do I ring {e}? | What's the landline for {e}? | How do I get {e} on the blower?
site.parking: How many slots for cars are at {e}? | Can I leave my motor at {e}, how many bays are there? | How big is the garage at {e}?
site.opened: When did {e} start up? | When's the birthday of {e}? | How old is {e}, since when is it going?
plan.fee: What's the damage each month for {e}? | How many bucks a month is {e}? | What's the subscription rate for {e}?
plan.response: How long till someone gets back to me on {e}? | How long must I hang on before support wakes up with {e}? | What's the turnaround on {e}?
plan.notice: How long before I can get out of {e}? | How far ahead must I quit {e}? | When can I ditch {e}?
plan.owner: Who's the boss of {e}? | Which guy do I bug about {e}? | Whose baby is {e}?
plan.users: How many logins come with {e}? | How many folks can be on {e}? | How many accounts do I get with {e}?
project.budget: How much cash is in the kitty for {e}? | How much dough has {e} got? | How fat is the wallet of {e}?
project.leader: Who's the boss of {e}? | Who calls the shots on {e}? | Who's the chief of {e}?
project.deadline: When does {e} wrap up? | When do we have to ship {e}? | What's the cutoff for {e}?
project.team: How many folks are on {e}? | How big is the crew of {e}? | How many heads are busy with {e}?
project.base: Where's the hq of {e}? | Where do the folks of {e} hang out? | Whereabouts is {e} run?
project.sponsor: Who's the godfather of {e}? | Which bigwig stands up for {e} on the board? | Who's the patron of {e}?
"""
"""How people ask in their own words, three ways for each attribute. Written before anything was measured, and not changed since."""


def halves(lab: Lab) -> tuple[list[Item], list[Item]]:
    """The questions for one fact, parted by the document that holds it: those of last month's log, and those held out."""
    single = [item for item in lab.questions if len(item.evidence) == 1]
    held_out = {item.id for item in single if crc32(item.evidence[0].document.encode()) % 2}
    return [i for i in single if i.id not in held_out], [i for i in single if i.id in held_out]


def own_words(items: Sequence[Item]) -> list[tuple[Item, str]]:
    """Each item with each of the three ways in which people ask for its attribute."""
    forms = {key: ways.split(" | ") for key, ways in (line.split(": ", 1) for line in WORDINGS.strip().splitlines())}
    facts = [(item, item.evidence[0]) for item in items]
    return [
        (item, form.format(e=wordings()[fact.kind, fact.attribute].refer(fact.entity), n=fact.entity))
        for item, fact in facts
        for form in forms[f"{fact.kind}.{fact.attribute}"]
    ]


def variant(lab: Lab, without: Collection[str] = (), **settings: Any) -> Lab:
    """A lab with other settings of the profile, or without some documents; its model is the same.

    >>> variant(lab, top_k=1).profile.top_k
    1
    """
    other = Lab(replace(lab.profile, **settings), lab.size, progress=lab.progress)
    kept = Ingested([document for document in lab.documents if document.id not in without], [])
    vars(other).update(artifacts=lab.artifacts, ingested=kept, model=lab.model)
    if "embedder" not in settings:
        other.embedder = lab.embedder
    return other


def undocumented(lab: Lab) -> tuple[set[str], list[Item]]:
    """The documents that last month's index lacked, and what people asked about them.

    Every fourth document of the held-out half that holds a fact alone; the facts asked for are not those held out.
    """
    later = [item.evidence[0] for item in halves(lab)[1]]
    lacking = set(sorted({fact.document for fact in later if not fact.also})[::4])
    kept = {(fact.entity, fact.attribute) for fact in later}
    single = [item for item in load_pairs() if len(item.evidence) == 1]
    facts = [(item, item.evidence[0]) for item in single if not item.evidence[0].also]
    about = {f.document: item for item, f in facts if f.document in lacking and (f.entity, f.attribute) not in kept}
    return lacking, [about[name] for name in sorted(about)]


def last_month(lab: Lab) -> pd.DataFrame:
    """RAG's log of the first half and of the undocumented, in people's own words, rated by whether the answer was right.

    Columns as `Log.answers`; `id` of the question; `stated`, the passages that state the fact; `right`, the sentence that
    does, without the value: both are what a person finds who looks into a complaint, and empty where no document says
    it; and for an answer rated down its `cause`.
    """
    lacking, about = undocumented(lab)
    lab, asked = variant(lab, lacking), own_words([*halves(lab)[0], *about])

    def build(folder: Path) -> None:
        with Log(folder / "log.sqlite") as log:
            answers = logged(lab, "rag", log).answer([question for _, question in asked])
            for number, ((item, _), answer) in enumerate(zip(asked, answers, strict=True), start=1):
                log.rate(number, is_right(item, answer.text))

    texts = [text for _, text in asked]
    kept = lab.artifacts.folder(build, what="last month's log/1", asked=texts, **depends(lab, "rag", 0))
    with TemporaryDirectory() as place, Log(copy(kept / "log.sqlite", place)) as log:
        rows = log.answers()
    stated = [_stating(lab, item) for item, _ in asked]
    facts = [item.evidence[0] for item, _ in asked]
    right = [fact.passage.replace(fact.value, "") if some else "" for fact, some in zip(facts, stated, strict=True)]
    rows = rows.assign(id=[item.id for item, _ in asked], stated=stated, right=right)
    return rows.assign(cause=[_cause(row) for row in rows.itertuples()])


def _stating(lab: Lab, item: Item) -> list[str]:
    """The chunks that state an item's fact."""
    fact = item.evidence[0]
    near = [chunk for chunk in lab.vectors.chunks if chunk.document_id in (fact.document, *fact.also)]
    return [chunk.id for chunk in near if holds(Hit(chunk, 0.0, 1), fact)]


def _cause(row: Any) -> str:
    if row.rating == "up":
        return ""
    if not row.stated:
        return "no document says it"
    if not set(row.stated) & set(row.sources):
        return "search missed it"
    return "declined" if abstained(row.answer) else "misread"


def unknown(question: str, known: Collection[str]) -> list[str]:
    """The words of a question that are not among those known; no stop words, no single letters.

    >>> unknown("How many bucks is the Delta?", {"delta", "price"})
    ['bucks']
    """
    return [word for word in dict.fromkeys(words(question)) if word not in STOP_WORDS | set(known) and len(word) > 1]


def mine(answered: Sequence[tuple[str, str]], terms: Iterable[str], top: int = 2) -> dict[str, list[str]]:
    """What the documents say for each term, learned from pairs of a question and its right passage.

    The `top` words that stand more often in the right passages of questions with the term than in all of them, and
    twice at least. A term without any is left out.

    >>> mine([("How many bucks is A?", "Price of A"), ("How many bucks is B?", "Price: B")], ["bucks"])
    {'bucks': ['price']}
    """
    passages = [set(unknown(right, words(question))) for question, right in answered]
    usual, synonyms = Counter(chain(*passages)), {}
    for term in terms:
        beside = [some for (question, _), some in zip(answered, passages, strict=True) if term in words(question)]
        counts = Counter(chain(*beside))
        lift = {w: n / len(beside) - usual[w] / len(passages) for w, n in counts.items() if n > 1 and not w.isdigit()}
        if best := sorted((w for w in lift if lift[w] > 0), key=lambda w: (-lift[w], w))[:top]:
            synonyms[term] = best
    return synonyms


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

    questions = own_words(items)
    sent = [expand(question, synonyms) for _, question in questions]
    answers = lab.arm("rag").answer(sent)
    rows = [
        {**score(item, answer), "first": holds(answer.hits[0], item.evidence[0])}
        for (item, _), answer in zip(questions, answers, strict=True)
    ]
    return pd.DataFrame(rows).assign(sent=sent)


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
    negative (the best of its sources that does not).
    """
    import pandas as pd

    texts = {chunk.id: chunk.embedding_text for chunk in lab.vectors.chunks}
    some = [(row, next((s for s in row.sources if s not in row.stated), None)) for row in rows.itertuples()]
    triplets = [(row.question, texts[row.stated[0]], texts[wrong]) for row, wrong in some if row.stated and wrong]
    return pd.DataFrame(triplets, columns=["anchor", "positive", "negative"])


def train_embedder(lab: Lab, triplets: pd.DataFrame, rate: float = 5e-5) -> Path:
    """The folder of the lab's embedder, trained for one pass over triplets as `confusions` gives them.

    The right passage against the negatives and the other right passages of a batch of 16 (multiple negatives ranking
    loss, Henderson et al. 2017, arXiv:1705.00652).

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
