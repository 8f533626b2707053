"""Write the invented company under `data/`: documents, updates, facts, questions, pairs, wordings, style, data card.

`python -m data.make.company`. Every file is replaced whole, and the same code writes the same bytes.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template
from typing import Any

from data.make.documents import Manuscript, Statement, make_documents
from data.make.facts import Company, Fact, make_company
from data.make.questions import Question, make_pairs, make_questions, make_rewordings
from data.make.render import render
from data.make.small import make_small
from data.make.use_cases import make_use_cases
from data.make.words import kinds, shown, wording, wordings
from labkit.data import CLOSING, OPENING, data_folder, dress
from labkit.store import write_bytes

Places = dict[Fact, list[tuple[str, Statement]]]  # where each fact stands, its own document first


def main() -> None:
    """Write everything and say how much was written."""
    folder = data_folder()
    made = make_data()
    write_data(made, folder)
    print(f"{len(made)} files written under {folder.name}/")


def make_data() -> dict[str, bytes]:
    """Every generated file below `data/`, by path.

    >>> make_data()["style.md"][:13]
    b'# House style'
    """
    company = make_company()
    first, second = make_documents(company), make_documents(company, updated=True)
    changed = [new for old, new in zip(first, second, strict=True) if old.statements != new.statements]
    questions = make_questions(company)
    pairs = make_pairs(company, questions)
    rows = {
        "facts.jsonl": list(_fact_rows(company, _places(first))),
        "questions.jsonl": _items("q", questions, _places(second)),
        "pairs.jsonl": _items("p", pairs, _places(first)),
        "rewordings.jsonl": _items("w", make_rewordings(company, questions, pairs), _places(first)),
        "wordings.jsonl": list(_wording_rows()),
        **{f"small/{name}.jsonl": found for name, found in make_small().items()},
        **{f"use_cases/{name}": found for name, found in make_use_cases(company.seed).items()},
    }
    return {
        **{f"documents/{manuscript.id}": render(manuscript) for manuscript in first},
        **{f"updates/{manuscript.id}": render(manuscript) for manuscript in changed},
        **{name: _json_lines(found) for name, found in rows.items()},
        "style.md": _fill("style.md", opening=OPENING, closing=CLOSING, example=dress(pairs[0].answer)),
        "README.md": _card(company, first, changed, questions, pairs),
    }


def write_data(made: dict[str, bytes], folder: Path) -> None:
    """Put the files in place, each whole or not at all, and remove documents that are no longer made.

    >>> write_data(make_data(), Path("data"))
    """
    for name, content in made.items():
        write_bytes(folder / name, content)
    for part in ("documents", "updates", "small"):
        for path in sorted((folder / part).rglob("*"), reverse=True):
            if path.is_file() and path.relative_to(folder).as_posix() not in made:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()


def _places(manuscripts: Iterable[Manuscript]) -> Places:
    found: Places = {}
    for manuscript in manuscripts:
        for statement in manuscript.statements:
            found.setdefault(statement.fact, []).append((manuscript.id, statement))
    return {fact: sorted(places, key=lambda place: place[1].restated) for fact, places in found.items()}


def _fact_rows(company: Company, places: Places) -> Iterable[dict[str, Any]]:
    for old, new in zip(company.facts(), company.facts(updated=True), strict=True):
        document, statement = places[old][0]
        yield {
            "kind": old.kind, "entity": old.entity, "attribute": old.attribute, "value": old.value,
            "updated": new.value if new != old else None, "document": document, "passage": statement.passage,
        }  # fmt: skip


def _wording_rows() -> Iterable[dict[str, Any]]:
    for kind, attributes in kinds().items():
        for name, attribute in attributes.items():
            yield {
                "kind": kind, "attribute": name, "reference": wording()[kind]["reference"],
                "asks": wordings(attribute.asks), "held_out": wordings(attribute.asks, held=True),
                "answer": attribute.answer.replace("{v}", shown(attribute, "{v}")),
            }  # fmt: skip


def _items(letter: str, questions: Sequence[Question], places: Places) -> list[dict[str, Any]]:
    return [
        {
            "id": f"{letter}{number:03}", "kind": q.kind, "question": q.text, "gold": q.gold,
            "answer": q.answer, "rivals": q.rivals,
            "evidence": [_evidence(fact, places[fact]) for fact in q.evidence],
        }
        for number, q in enumerate(questions, start=1)
    ]  # fmt: skip


def _evidence(fact: Fact, places: list[tuple[str, Statement]]) -> dict[str, Any]:
    document, statement = places[0]
    also = sorted({name for name, _ in places} - {document})
    return {
        "document": document, "kind": fact.kind, "entity": fact.entity, "attribute": fact.attribute,
        "value": fact.value, "passage": statement.passage, "also": also,
    }  # fmt: skip


def _json_lines(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _fill(template: str, **slots: object) -> bytes:
    text = (Path(__file__).parent / "templates" / template).read_text("utf-8")
    return Template(text).substitute(slots).encode()


def _card(
    company: Company,
    first: Sequence[Manuscript],
    changed: Sequence[Manuscript],
    questions: Sequence[Question],
    pairs: Sequence[Question],
) -> bytes:
    facts, restated = len(company.facts()), {s.fact for m in first for s in m.statements if s.restated}
    slots = {"seed": company.seed, "facts": facts, "changed": len(company.changed), "restated": len(restated)}
    counts = {
        "documents": len(first),
        "updates": len(changed),
        "questions": len(questions),
        "pairs": len(pairs),
    }
    tables = {
        "formats": _table("Format", [m.id.rpartition(".")[2] for m in first]),
        "entities": _table("Kind of thing", [kind for kind, _ in company.before]),
        "question_kinds": _table("Kind of question", [q.kind for q in questions]),
        "pair_kinds": _table("Kind of pair", [q.kind for q in pairs]),
    }
    return _fill("README.md", **slots, **counts, **tables)


def _table(head: str, names: Iterable[str]) -> str:
    rows = [f"| {name} | {count} |" for name, count in Counter(names).items()]
    return "\n".join([f"| {head} | Count |", "|---|---:|", *rows])


if __name__ == "__main__":
    main()
