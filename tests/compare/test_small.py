"""The small company of the studies: every fact is stated once, asked once, and changes only where it says so."""

import pytest

from labkit.compare import small
from labkit.lab import Lab
from labkit.metrics import contains
from labkit.profile import POCKET
from labkit.world.style import dress


@pytest.fixture(scope="module")
def lab() -> Lab:
    return Lab(POCKET, "smoke", progress=False)


def test_before_an_update_the_company_is_the_same_whatever_share_will_change():
    assert small.items(small.company(0.0)) == [
        small.Item(**{**vars(item), "kind": "unchanged"}) for item in small.items(small.company(0.5))
    ]


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_the_share_of_facts_changes_and_their_questions_stay(share):
    made = small.company(share)
    old, new = small.items(made), small.items(made, new=True)
    differ = [a.gold != b.gold for a, b in zip(old, new, strict=True)]
    assert differ == [item.kind == "changed" for item in new]
    assert sum(differ) / len(differ) == pytest.approx(share, abs=0.05)
    assert [a.question for a in old] == [b.question for b in new]


def test_every_fact_stands_in_the_document_that_proves_it():
    made = small.company(0.25)
    texts = {document.id: document.text for document in small.documents(small.manuscripts(made, new=True))}
    for item in small.items(made, new=True):
        assert contains(texts[item.evidence[0].document], item.gold)


def test_indexing_a_change_finds_what_it_had_and_the_new_facts(lab):
    made = small.company(0.5)
    old, new = (small.documents(small.manuscripts(made, new=version)) for version in (False, True))
    store, seconds = small.reindexed(lab, old, new)
    assert seconds > 0 and {chunk.document_id for chunk in store.chunks} == {document.id for document in new}


def test_learning_changes_the_copy_and_not_the_model(lab):
    told = small.items(small.company(0.0))[:8]
    before = [weight.clone() for weight in lab.model.network.parameters()]
    learned, seconds = small.learn(lab, lab.model, told, seed=0)
    assert seconds > 0 and learned.dtype == lab.model.dtype
    assert all((a == b).all() for a, b in zip(before, lab.model.network.parameters(), strict=True))
    assert any((a != b).any() for a, b in zip(before, learned.network.parameters(), strict=True))


def test_an_answer_is_scored_for_content_and_style(lab):
    item = small.items(small.company(0.0))[0]

    class Told:
        name = "told"

        def answer(self, questions):
            return [type("A", (), {"text": dress(item.answer)})() for _ in questions]

    row = small.asked(lab, Told(), [item], share=0.0)[0]
    assert (row["arm"], row["correct"], row["style"], row["joint"], row["share"]) == ("told", 1, 1, 1, 0.0)
