"""Profiles resolve, sizes shrink, and what does not exist is named with the choices."""

from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest

from labkit import LabError
from labkit.profile import PROFILES, SIZES, check_size, resolve, scaled
from labkit.rag.retrieve import METHODS
from labkit.store import ROOT


@pytest.mark.parametrize("name", PROFILES)
def test_a_known_name_is_that_profile(name):
    assert resolve(name).name == name
    assert resolve(name).method in METHODS


def test_a_profile_does_not_change():
    with pytest.raises(FrozenInstanceError):
        resolve("pocket").top_k = 9


def test_pocket_names_its_model_without_a_machine_path():
    assert resolve("pocket").model == "data/models/pocket"
    assert str(ROOT) not in str(asdict(resolve("pocket")))


def test_the_model_inside_the_project_is_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside = replace(resolve("pocket"), model="labkit")
    assert inside.model_path == str(ROOT / "labkit") and inside.offline


def test_a_hub_id_runs_on_the_laptop_settings():
    own = resolve("Some-Org/tiny_model-1.5")
    assert own == replace(PROFILES["laptop"], name=own.model, model="Some-Org/tiny_model-1.5")
    assert own.hub and not own.offline


def test_a_folder_with_a_model_is_a_profile_that_needs_no_network(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    own = resolve("./mine")
    assert (own.name, own.model, own.offline) == ("mine", str(tmp_path / "mine"), True)
    assert resolve(str(tmp_path / "mine")) == resolve("mine") == own


@pytest.mark.parametrize(
    "name, said",
    [
        ("pockt", "did you mean pocket?"),
        ("", "choose smol, pocket, laptop, gpu"),
        ("no/such/model", "no model at no/such/model"),
        ("./missing", "no model at ./missing"),
        ("inside/missing", "no model at inside/missing"),
        ("inside", "no config.json"),
        ("bad name/x", "no model at bad name/x"),
    ],
)
def test_what_is_no_profile_is_named_in_one_line(tmp_path, monkeypatch, name, said):
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabError, match=".") as caught:
        resolve(name)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", PROFILES)
def test_smoke_is_smaller_and_full_is_untouched(name):
    profile = PROFILES[name]
    smoke = scaled(profile, "smoke")
    assert scaled(profile, "full") == profile
    assert len(smoke.seeds) == smoke.tuned_epochs == smoke.hybrid_epochs == 1
    assert smoke.questions >= 6 and smoke.pairs > 0 and smoke.hybrid_pairs > 0  # one of each kind at least
    kept = {field.name for field in fields(profile)} - {
        *(
            "seeds",
            "questions",
            "pairs",
            "hybrid_pairs",
            "tuned_epochs",
            "hybrid_epochs",
            "latency_questions",
            "max_new_tokens",
            "long_context",
        )
    }
    assert all(getattr(smoke, name) == getattr(profile, name) for name in kept)


def test_an_unknown_size_names_the_choices():
    assert [check_size(size) for size in SIZES] == list(SIZES)
    with pytest.raises(LabError, match="unknown size 'smok': choose smoke, full .did you mean smoke"):
        scaled(PROFILES["pocket"], "smok")
