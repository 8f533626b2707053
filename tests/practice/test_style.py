"""A style is learned from replies, and says what a text breaks."""

import pytest

from labkit.errors import LabError
from labkit.practice.style import Style, learn


def test_a_style_is_what_all_replies_open_and_close_with():
    replies = {"a": "Dear guest, it is red. Bye now.", "b": "Dear guest, two do. They rest. Bye now.", "c": ""}
    style = learn(replies, ["a", "b"])
    assert style == Style("Dear guest,", "Bye now.", 2, 3, False)
    assert not style.faults("Dear guest, it is blue [1]. Bye now.")
    assert style.faults("It is blue! Bye now.") == ["opening", "no exclamation"]
    assert style.faults("Dear guest, bye. So. Well. Hm. Bye now.") == ["2 to 3 sentences"]
    assert learn({"a": "", "b": ""}, ["a"]) is None
    with pytest.raises(LabError, match="c and 0 more to train on have no reply"):
        learn(replies, ["a", "b", "c"])


def test_replies_that_share_nothing_still_have_a_length():
    style = learn({"a": "It is red.", "b": "Two do. They rest."}, ["a", "b"])
    assert (style.opening, style.closing, style.least, style.most) == ("", "", 1, 2)
    same = learn({"a": "Yes. So.", "b": "Yes. So."}, ["a", "b"])
    assert same.opening == "Yes. So." and same.closing == ""
