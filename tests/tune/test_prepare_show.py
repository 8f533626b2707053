"""The loss mask is shown token by token, and what a length limit would cut off is counted."""

import re

from labkit.tune.prepare import IGNORED, Example, dataset
from labkit.tune.prepare_show import cut, masked

ROW = {"input_ids": list(range(10)), "labels": [IGNORED] * 6 + [6, 7, 8, 9]}
ENDLESS = {"input_ids": [1] * 12, "labels": [1, 1] + [IGNORED] * 10}


def test_every_token_is_shown_and_the_learned_ones_are_bold(rows, tokenizer):
    view = masked(rows[0], tokenizer)
    assert "".join(text for text, _ in view.tokens) == tokenizer.decode(rows[0]["input_ids"])
    learned = [label for label in rows[0]["labels"] if label != IGNORED]
    assert view.share == len(learned) / len(rows[0]["labels"])
    page = view._repr_html_()
    assert page.count("<b style") == len(learned) and page.count("<span style") == len(view.tokens) - len(learned)
    assert repr(view).startswith(f"{len(learned)} of {len(view.tokens)} tokens are learned: ")


def test_text_that_looks_like_markup_is_shown_as_text(tokenizer):
    talk = [{"role": "user", "content": "<script>?"}, {"role": "assistant", "content": "<b>1 & 2</b>"}]
    page = masked(dataset([Example(talk)], tokenizer, 512).rows[0], tokenizer)._repr_html_()
    assert set(re.findall(r"</?(\w+)", page)) == {"p", "b", "span", "br"} and "&amp;" in page


def test_a_cut_is_told_by_what_it_takes():
    assert str(cut([ROW, ENDLESS], 12)) == "at 12 tokens: all 2 rows fit"
    assert cut([ROW, ENDLESS], 8).over == [0, 1] and cut([ROW, ENDLESS], 8).shortened == [0]
    assert cut([ROW, ENDLESS], 6).emptied == [0] and cut([ROW, ENDLESS], 6).shortened == []
    assert str(cut([ROW] * 3, 9)).startswith("at 9 tokens: 3 of 3 rows are too long; cut, 3 would never learn")
