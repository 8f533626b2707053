"""Other wordings and second searches find what one search misses."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labkit.rag.chunk import Chunk
from labkit.rag.index import FaissStore
from labkit.rag.retrieve import BM25, Dense, Fusion, MultiQuery, SecondSearch, reciprocal_rank_fusion
from labkit.rag.retrieve_fusion import names, reword_by_rule, reword_with, seed

SITES = {"Delta": "Rome", "Orion": "Oslo", "Lynx": "Bern", "Heron": "Kyiv"}
HEADS = {"Rome": "Ann Weir", "Oslo": "Bo Lund", "Bern": "Cy Frei", "Kyiv": "Di Maro"}


@pytest.fixture(scope="module")
def company(embedder):
    """Which product is made where, and who runs which site, in different documents."""
    made = [f"{name} data sheet. The {name} is made at the {site} site. It is blue." for name, site in SITES.items()]
    runs = [f"Staff notes. The {site} site has {head} as its head." for site, head in HEADS.items()]
    texts = random.Random(0).sample(made + runs, 8)
    return FaissStore.from_chunks([Chunk(f"{i}#0", str(i), "", t, 0, len(t)) for i, t in enumerate(texts)], embedder)


def ids(hits):
    return [hit.chunk.id for hit in hits]


def test_multi_query_fuses_the_rankings_of_all_wordings(store):
    query = "For my notes: how heavy is the KX-200?"
    wordings = [query, *reword_by_rule([query])[0]]
    wanted = reciprocal_rank_fusion([ids(Dense(store).search(wording, 50)) for wording in wordings])
    assert ids(MultiQuery(Dense(store), reword_by_rule).search(query, top_k=7)) == wanted[:7]


def test_multi_query_without_other_wordings_is_the_first_search(store):
    silent = MultiQuery(BM25(store), lambda queries: [[] for _ in queries])
    assert ids(silent.search("fish on Fridays")) == ids(BM25(store).search("fish on Fridays"))


def test_rewording_by_rule_drops_the_lead_in_then_the_stop_words_then_all_but_names():
    asked = [
        "A customer asks: How much revenue did the Laurel Swift have in 2030?",
        "Just to be sure, which person leads Project Larch?",
        "what is it",
    ]
    assert reword_by_rule(asked) == [
        ["How much revenue did the Laurel Swift have in 2030?", "revenue Laurel Swift 2030", "Laurel Swift 2030"],
        ["which person leads Project Larch?", "person leads Project Larch", "Project Larch"],
        ["what is it"],
    ]


@given(st.text(max_size=200))
def test_rewording_never_fails_and_names_come_from_the_text(text):
    assert len(reword_by_rule([text])[0]) <= 3
    assert all(name in text for name in names(text))
    assert seed(text, text) == text
    assert seed("Who?", text).startswith("Who?")


def test_a_models_rewordings_are_its_first_lines(tmp_path):
    from labkit.model import load_model

    model = load_model(_talker(tmp_path))
    said = model.generate([[{"role": "user", "content": "x"}]], max_new_tokens=8)
    assert len(said) == 1
    (wordings,) = reword_with(model, count=2)(["How heavy is the KX-200?"])
    assert len(wordings) <= 2 and all(isinstance(wording, str) and wording for wording in wordings)


def _talker(folder):
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    from data.make.pocket import make_tokenizer

    tokenizer = make_tokenizer(samples=50)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=512, tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_model_rewordings_lose_their_numbers_and_the_query_itself():
    class Says:
        """What a model that writes lists gives back."""

        def generate(self, prompts, max_new_tokens):
            lines = "1. What is its weight?\n- How heavy is it?\n\n2) What does it weigh?\n3. Its mass?"
            return [type("Generation", (), {"text": lines})() for _ in prompts]

    assert reword_with(Says(), count=2)(["How heavy is it?"]) == [["What is its weight?", "What does it weigh?"]]


def test_a_seed_adds_the_names_of_the_lines_that_share_most_with_the_query():
    query = "Who runs the site where the Delta is made?"
    assert seed(query, "The Delta is made in Rome. Ask Ann in Oslo.") == f"{query} Rome"
    assert seed(query, "Product | Site\nOrion | Oslo\nDelta | Rome\n") == f"{query} Rome"
    assert seed(query, "") == query


@pytest.mark.parametrize("make", [Dense, BM25, lambda store: Fusion([Dense(store), BM25(store)])])
def test_a_second_search_finds_the_second_hop_that_one_search_ranks_lower(company, make):
    found = {"one search": 0, "second search": 0}
    for product, site in SITES.items():
        for name, retriever in (
            ("one search", make(company)),
            ("second search", SecondSearch(make(company), seeds=1, keep=1)),
        ):
            texts = " ".join(
                hit.chunk.text for hit in retriever.search(f"Who runs the site of the {product}?", top_k=2)
            )
            found[name] += HEADS[site] in texts and site in texts
    assert found["second search"] == len(SITES) > found["one search"]


def test_a_second_search_keeps_the_first_hits_in_front_and_each_chunk_once(company):
    first = Dense(company)
    both = SecondSearch(first, keep=2).search("Who runs the site of the Orion?", top_k=8)
    assert ids(both)[:2] == ids(first.search("Who runs the site of the Orion?", top_k=2))
    assert len(set(ids(both))) == len(both) == 8
    assert [hit.score for hit in both] == [1 / hit.rank for hit in both]
