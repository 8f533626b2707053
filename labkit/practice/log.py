"""Learn from the log: which words fail, what the documents say instead, and whether knowing it helps. Introduced in 20_log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zlib import crc32

from labkit.compare.score import is_right, score
from labkit.compare.training import holds
from labkit.hashing import hash_source
from labkit.practice.log_store import Log, logged
from labkit.rag.retrieve import Hit, words
from labkit.rag.retrieve_fusion import STOP_WORDS
from labkit.stats import Interval, paired_bootstrap
from labkit.world.facts import refer

if TYPE_CHECKING:
    import pandas as pd

    from labkit.lab import Lab
    from labkit.world.data import Item

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
    forms = {key: said.split(" | ") for key, said in (line.split(": ", 1) for line in WORDINGS.strip().splitlines())}
    facts = [(item, item.evidence[0]) for item in items]
    return [
        (item, form.format(e=refer(fact.kind, fact.entity), n=fact.entity))
        for item, fact in facts
        for form in forms[f"{fact.kind}.{fact.attribute}"]
    ]


def last_month(lab: Lab) -> pd.DataFrame:
    """RAG's log of the first half, asked in people's own words and rated by whether the answer was right.

    Columns as `Log.answers`; `id` of the question; `missed`, whether no source states the fact; and `right`, the
    passage that does, without the value: what a person finds who looks into a complaint.
    """
    asked = own_words(halves(lab)[0])

    def build(folder: Path) -> None:
        with Log(folder / "log.sqlite") as log:
            answers = logged(lab, "rag", log).answer([question for _, question in asked])
            for number, ((item, _), answer) in enumerate(zip(asked, answers, strict=True), start=1):
                log.rate(number, is_right(item, answer.text))

    code = hash_source("labkit.practice.log_store", "labkit.practice.log_redact")
    kept = lab.artifacts.folder(build, what="last month's log", code=code, **_depends(lab, asked))
    with TemporaryDirectory() as place, Log(copy(kept / "log.sqlite", place)) as log:
        rows = log.answers()
    facts = [item.evidence[0] for item, _ in asked]
    chunks = {chunk.id: chunk for chunk in lab.vectors.chunks}
    missed = [
        not any(holds(Hit(chunks[name], 0.0, 1), fact) for name in sources)
        for sources, fact in zip(rows.sources, facts, strict=True)
    ]
    right = [fact.passage.replace(fact.value, "") for fact in facts]
    return rows.assign(id=[item.id for item, _ in asked], missed=missed, right=right)


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

    asked = [(item, expand(question, synonyms)) for item, question in own_words(items)]

    def make() -> list[dict[str, Any]]:
        answers = lab.arm("rag").answer([question for _, question in asked])
        told = zip(asked, answers, strict=True)
        return [{**score(item, a), "first": holds(a.hits[0], item.evidence[0])} for (item, _), a in told]

    rows = pd.DataFrame(lab.artifacts.value(make, what="answers to own words", **_depends(lab, asked)))
    return rows.assign(sent=[question for _, question in asked])


def _depends(lab: Lab, asked: Sequence[tuple[Item, str]]) -> dict[str, Any]:
    return {"asked": [question for _, question in asked], "profile": asdict(lab.profile), "hashes": lab.hashes}


def complaints(lab: Lab, rows: pd.DataFrame) -> list[str]:
    """The words of answers rated down that no document holds, the commonest first."""
    known = {word for chunk in lab.vectors.chunks for word in words(chunk.embedding_text)}
    failed = rows.question[rows.rating == "down"]
    return [word for word, _ in Counter(word for question in failed for word in unknown(question, known)).most_common()]


def learn(lab: Lab) -> dict[str, list[str]]:
    """The synonyms that last month's log teaches."""
    rows = last_month(lab)
    return mine(list(zip(rows.question, rows.right, strict=True)), complaints(lab, rows))


def gain(before: pd.DataFrame, after: pd.DataFrame, column: str = "correct") -> Interval:
    """How much more is correct, or retrieved, after than before, with its interval over questions; wordings are averaged."""
    return paired_bootstrap(*(rows.groupby("id", sort=False)[column].mean() for rows in (after, before))).interval


def figures(lab: Lab) -> dict[str, Interval]:
    """What the claims about the log need, each by its name in claims.yaml."""
    held_out = halves(lab)[1]
    before, after = reread(lab, held_out, {}), reread(lab, held_out, learn(lab))
    return {"accuracy on held-out questions, after mining the log less before: rag": gain(before, after)}
