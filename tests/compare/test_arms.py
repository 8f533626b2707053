"""Which class, which weights and which prompt belong to an arm's name."""

import pytest

from labkit.compare.arms import ARMS, RIVALS, Hybrid, Naive, Prompted, arm_class, weights_of
from labkit.compare.lab import Lab
from labkit.data import CLOSING, OPENING
from labkit.errors import LabError
from labkit.profile import POCKET


def test_every_arm_has_a_class_of_its_name_and_the_weights_it_says():
    assert [arm_class(name).name for name in (*ARMS, *RIVALS)] == [*ARMS, *RIVALS]
    assert [weights_of(name) for name in (*ARMS, *RIVALS)] == [None, None, "tuned", "hybrid", None, "tuned"]
    assert arm_class("hybrid-2") is Hybrid and weights_of("hybrid-2") == "hybrid-2"


@pytest.mark.parametrize("name", ["", "ragg", "hybrid-", "hybrid-two", "rag-2", "arm"])
def test_an_unknown_arm_is_refused_with_the_choices(name):
    with pytest.raises(LabError, match="choose base, rag"):
        arm_class(name)


def test_the_naive_hybrid_is_a_hybrid_on_the_tuned_arms_weights():
    assert issubclass(Naive, Hybrid) and weights_of("naive") == weights_of("tuned")


def test_the_prompted_arm_asks_the_model_for_the_house_style():
    arm = Lab(POCKET, "smoke", progress=False).arm("prompted")
    assert isinstance(arm, Prompted) and OPENING in arm.system and CLOSING in arm.system
    told = arm.answer(["What does the Amber Falcon cost?"])[0]
    plain = Lab(POCKET, "smoke", progress=False).arm("rag").answer(["What does the Amber Falcon cost?"])[0]
    assert told.hits and told.prompt_tokens > plain.prompt_tokens
