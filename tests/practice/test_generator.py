"""A served model answers for the untuned arms as it does in this process, and a server that fails is told of in one line."""

from dataclasses import replace

import pytest

from labkit import LabError
from labkit.compare.arms import ARMS, Answer
from labkit.compare.score import score
from labkit.data import Item, data_folder, load_questions
from labkit.model import load_model
from labkit.practice.generator import Endpoint
from labkit.practice.own_data import compare_own, open_own
from labkit.practice.questions import UNKNOWN
from labkit.profile import POCKET
from labkit.rag.augment import ABSTAIN, build_messages
from labkit.tune.deploy import serve
from tests.practice.serving import Handler, listening

PROSE = data_folder() / "prose"


@pytest.fixture(scope="module")
def server():
    with serve(POCKET.model_path) as running:
        yield running


@pytest.mark.slow
def test_served_answers_and_their_tokens_are_those_in_process(server):
    model, asked = load_model(POCKET.model_path, dtype="float32"), load_questions()[:60:10]
    talks = [build_messages(item.question, [("Note", "The pump is made in Oslo.")]) for item in asked]
    done: list[int] = []
    served = Endpoint(server.url).generate(talks, max_new_tokens=24, progress=done.append)
    wanted = model.generate(talks, max_new_tokens=24)
    assert [made.text for made in served] == [made.text for made in wanted]
    assert [made.prompt_tokens for made in served] == [made.prompt_tokens for made in wanted]
    assert sum(done) == len(talks) and all(made.seconds > 0 for made in served)


@pytest.mark.slow
def test_the_untuned_arms_ask_the_server_and_the_tuned_ones_do_not(server, tmp_path, monkeypatch, with_vectors):
    monkeypatch.setenv("LABKIT_RUNS", str(with_vectors(tmp_path)))
    lab = open_own(
        "pocket", PROSE / "documents", PROSE / "questions.csv", "smoke", generator=server.url, progress=False
    )
    assert lab.arm("base").model is lab.generator is lab.arm("rag").model
    assert "generator" in lab.hashes
    lab.__dict__["questions"], lab.profile = lab.questions[:8], replace(lab.profile, arms=ARMS)
    made = compare_own(lab)
    assert made.result["recommendation"][-1].startswith("Two models: base and rag were answered by pocket at 127.0.0.1")
    assert made.result["arms"]["rag"]["prompt_tokens"]["mean"] > made.result["arms"]["base"]["prompt_tokens"]["mean"]


@pytest.mark.slow
def test_a_model_that_is_not_there_is_named(server):
    with pytest.raises(LabError, match="127.0.0.1 refuses .*: check the model's name, .*#name"):
        Endpoint(f"{server.url}#another").generate([[{"role": "user", "content": "Why?"}]])


class Scripted(Handler):
    """Answers every request with the status in the path, and with an empty list of models."""

    def do_GET(self):
        self.send(int(self.path.split("/")[1]), {"object": "list", "data": []})

    def do_POST(self):
        """Says what the path says, in base 16, for the reason before it."""
        _, reason, text, *_ = self.path.split("/")
        self.complete(bytes.fromhex(text).decode(), reason)


@pytest.fixture(scope="module")
def scripted():
    with listening(Scripted) as url:
        yield url


@pytest.mark.parametrize(
    "status, said",
    [(401, "put a valid one into OPENAI_API_KEY"), (404, "check the model's name"), (200, "lists no model: name one")],
)
def test_a_server_that_refuses_is_told_of_with_the_remedy(scripted, status, said):
    with pytest.raises(LabError, match=said):
        Endpoint(f"{scripted}/{status}/v1")


def test_no_server_and_no_address_are_told_of():
    with pytest.raises(LabError, match="nothing answers at http://127.0.0.1:9/v1: start the server"):
        Endpoint("http://127.0.0.1:9/v1")
    with pytest.raises(LabError, match="'localhost:8000' is no address of a server"):
        Endpoint("localhost:8000")


@pytest.mark.parametrize(
    "reason, said, text, cut",
    [
        ("stop", "<think>41 or 42?</think>\n\nIt weighs 41 kg.", "It weighs 41 kg.", False),
        ("stop", "41 or 42?</think>It weighs 41 kg.", "It weighs 41 kg.", False),
        ("stop", "The <think> tag opens it.", "The <think> tag opens it.", False),
        ("length", "<think>Let me see: 41 or", "", True),
        ("length", "It weighs", "It weighs", True),
    ],
)
def test_what_a_model_thinks_is_no_answer_and_one_cut_off_declines_nothing(scripted, reason, said, text, cut):
    model = Endpoint(f"{scripted}/{reason}/{said.encode().hex()}", "m")
    (made,) = model.generate([build_messages("How heavy?")])
    assert (made.text, made.cut) == (text, cut)
    asked = Item("q", UNKNOWN, "How heavy?", None, ABSTAIN)
    row = score(asked, Answer("How heavy?", made.text, (), 1, 1, 0.0, 0.0, made.cut))
    assert (row["abstained"], row["correct"], row["cut"]) == (0, 0, int(cut))
