# %% [markdown]
# # 01 · Ingest: exercises
#
# You will count what gets lost on the way from a file to its text, and notice when a file has changed.

# %%
import hashlib
from collections import Counter

from checks import Question, exercise

# %% [markdown]
# ## 1. What a reader kept
#
# Two readers of the same PDF are told apart by facts that you know to be in it. Line breaks fall anywhere in a PDF's
# text, so a fact counts as kept if it occurs once every run of white space is taken for one space.


# %% tags=["solution"]
@exercise(
    cases=[
        ("The pump\ncosts  $120.", ["pump costs", "$120", "$20 "]),
        ("price\t10", ["price 10", "Price 10"]),
        ("", ["a"]),
        ("seven  years", ["seven\nyears", "seven", "eight"]),
    ],
    hint="Make white space single in the text and in the fact. Case counts.",
    wrong=[
        ('plain = " ".join(text.split())', "plain = text"),
        ('" ".join(fact.split()) in plain', "fact in plain"),
        ('" ".join(fact.split()) in plain', '" ".join(fact.split()).lower() in plain.lower()'),
    ],
)
def kept(text: str, facts: list[str]) -> float:
    """The share of the facts that occur in the text, white space aside.

    >>> kept("The pump\\ncosts $120.", ["pump costs", "$130"])
    0.5
    """
    plain = " ".join(text.split())
    return sum(" ".join(fact.split()) in plain for fact in facts) / len(facts)


# %% [markdown]
# ## 2. Menus and banners
#
# Navigation stands on every page and answers nothing, but it is embedded, found and paid for like the rest. A line that
# occurs on most pages is probably not what the page is about.


# %% tags=["solution"]
@exercise(
    cases=[
        (["Home\nPumps", "Home\nValves", "Home\nPrices"],),
        (["Home\nHome\nPumps", "Valves", "Prices"],),
        (["Home\nA", "Home\nB", "C", "D"],),
        (["Home\nA", "Home\nB", "C\nHome", "D"],),
        (["A\n\nB", "A\n\nC", "A\n\nD"],),
    ],
    hint="Count in how many pages a line occurs, not how often. More than half: exactly half is not.",
    wrong=[
        ("for line in set(page.splitlines())", "for line in page.splitlines()"),
        ("> len(pages) / 2", ">= len(pages) / 2"),
        ("> len(pages) / 2", "== len(pages)"),
        ("if line.strip() and", "if"),
    ],
)
def furniture(pages: list[str]) -> list[str]:
    """The lines, sorted, that occur in more than half of the pages; lines without text do not count.

    >>> furniture(["Home\\nPumps", "Home\\nValves"])
    ['Home']
    """
    seen = Counter(line for page in pages for line in set(page.splitlines()))
    return sorted(line for line, n in seen.items() if line.strip() and n > len(pages) / 2)


# %% [markdown]
# ## 3. Changed, new, gone
#
# Reading and embedding everything again because one file changed is waste. A hash of a file's bytes is its address: the
# same bytes give the same hash, a changed byte another one. The time of the last change says less: it changes by
# copying.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"a": "one", "b": "two"}, {"a": "one", "b": "2", "c": "three"}),
        ({"a": "one", "b": "two"}, {"b": "two"}),
        ({"a": "one"}, {"b": "one"}),
        ({}, {"a": "é"}),
    ],
    hint="Compare by name: new names, names that are gone, and names that stayed with another hash.",
    wrong=[
        ("name in before and before[name] != after[name]", "before.get(name) != after[name]"),
        ("sorted(after.keys() - before.keys())", "sorted(n for n in after if after[n] not in before.values())"),
        ("sorted(before.keys() - after.keys())", "sorted(before.keys() ^ after.keys())"),
    ],
)
def differences(old: dict[str, str], new: dict[str, str]) -> dict[str, list[str]]:
    """Sorted file names under "new", "changed" and "gone", by the SHA-256 of each file's text in UTF-8.

    `old` and `new` give the text of each file by its name. A renamed file is gone, and new under its new name.

    >>> differences({"a": "one", "b": "two"}, {"a": "one", "b": "2", "c": "3"})
    {'new': ['c'], 'changed': ['b'], 'gone': []}
    """
    before, after = (
        {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()} for files in (old, new)
    )
    changed = sorted(name for name in after if name in before and before[name] != after[name])
    return {
        "new": sorted(after.keys() - before.keys()),
        "changed": changed,
        "gone": sorted(before.keys() - after.keys()),
    }


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "A table in a PDF was read row by row as a heap of words. Where does that show?",
        ["At once: the reader fails.", "In the embedding's size.", "In wrong answers, much later."],
        "c",
        "Nothing later can find or learn what is lost here, and nothing complains.",
    ),
    Question(
        "A folder holds an encrypted PDF. What should reading the folder do?",
        [
            "Stop with an error.",
            "Read the rest, and name the file with a remedy.",
            "Leave it out without a word.",
        ],
        "b",
        "One bad file must neither stop the others nor be missing unnoticed.",
    ),
]
