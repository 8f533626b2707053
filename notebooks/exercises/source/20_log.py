# %% [markdown]
# # 20 · Log: exercises
#
# You will take out what a log must not hold, find words that no document knows, and test what a log taught.

# %%
import re
from collections import Counter

from checks import Question, exercise

# %% [markdown]
# ## 1. Redact before you write
#
# What is not in the log cannot leak from it. A rule sees form, not meaning: an address has an @ inside, an account or a
# telephone number has many digits, spaced or not. A year or a price is no such number.


# %% tags=["solution"]
@exercise(
    cases=[
        ("Mail ann@example.org or call 030 1234567.",),
        ("In 2024 it cost $1240.",),
        ("Card 4111 1111 1111 1111, ok?",),
        ("Call 555-123-4567 or @ann",),
        ("Seven: 1234567. Six: 123456.",),
        ("Between 10 and 20 of 30 pumps",),
    ],
    hint="First addresses: word characters and dots around an @. Then a digit, and six or more with or without a gap.",
    wrong=[
        (r"\d(?:[ -]?\d){6,}", r"\d{7,}"),
        (r"\d(?:[ -]?\d){6,}", r"\d(?:[ -]?\d){3,}"),
        (r"[\w.]+@\w[\w.]*\w", r"\S*@\S*"),
    ],
)
def redact(text: str) -> str:
    """The text with [e-mail] for addresses, then [number] for numbers of seven digits or more.

    An address is word characters or dots before an @, and behind it word characters or dots that begin and end with a word
    character. Between two digits of a number may stand one space or hyphen.

    >>> redact("Card 4111 1111 1111 1111, ok?")
    'Card [number], ok?'
    """
    text = re.sub(r"[\w.]+@\w[\w.]*\w", "[e-mail]", text)
    return re.sub(r"\d(?:[ -]?\d){6,}", "[number]", text)


# %% [markdown]
# ## 2. Words that no document holds
#
# Users say "kit", the documents say "parts": the search by words finds nothing. Complaints that share a word unknown to
# all documents point to a missing synonym.


# %% tags=["solution"]
@exercise(
    cases=[
        (["Where is the kit?", "Which kit fits?", "What is the price?"], ["The price is fixed.", "Parts: where"], 2),
        (["Kit kit kit", "price"], ["Price"], 2),
        (["Kit or set?", "A set, a kit!", "The set."], ["the a or"], 2),
        (["Where?"], ["where"], 1),
    ],
    hint="Count in how many questions a word occurs, in lower case; most first, then by the alphabet.",
    wrong=[
        (
            "for word in words(question) - known",
            "for word in re.findall(r'\\w+', question.lower()) if word not in known",
        ),
        ("n >= least", "n > least"),
        ("text.lower()", "text"),
        (" - known", ""),
    ],
)
def unknown(questions: list[str], documents: list[str], least: int) -> list[str]:
    """The words in at least `least` of the questions and in no document: the most frequent first, equal ones sorted.

    A word is a run of word characters, in lower case, and counts once in a question.

    >>> unknown(["Kit or set?", "A set, a kit!", "The set."], ["the a or"], 2)
    ['set', 'kit']
    """

    def words(text: str) -> set[str]:
        return set(re.findall(r"\w+", text.lower()))

    known = set().union(*map(words, documents))
    seen = Counter(word for question in questions for word in words(question) - known)
    return sorted((word for word, n in seen.items() if n >= least), key=lambda word: (-seen[word], word))


# %% [markdown]
# ## 3. Did it help, or was it luck?
#
# A remedy mined from the log is measured on questions that the log never saw, and beside a control that only looks like
# it: other words, added in the same number. What counts is the gain over the control.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"q1": 0, "q2": 0, "q3": 1}, {"q1": 1, "q2": 1, "q3": 1}, {"q1": 0, "q2": 1, "q3": 1}, ["q1"]),
        ({"a": 1, "b": 0, "c": 0}, {"a": 1, "b": 1, "c": 0}, {"a": 0, "b": 0, "c": 0}, []),
        ({"a": 0, "b": 1}, {"a": 1, "b": 0}, {"a": 0, "b": 1}, ["a"]),
    ],
    hint="Leave out the questions of the log. Then the remedy's gain over before, and its gain over the control.",
    wrong=[
        ("if name not in log", "if True"),
        ("mean(remedy) - mean(control)", "mean(control) - mean(before)"),
        ("if name not in log", "if name in log or len(log) == 0"),
    ],
)
def gains(before: dict, remedy: dict, control: dict, log: list[str]) -> tuple[float, float]:
    """How far the mean score with the remedy is above that before, and above that with the control.

    Scores by question, of the same questions; those named in `log` taught the remedy and do not count.

    >>> gains({"a": 0, "b": 0}, {"a": 1, "b": 1}, {"a": 0, "b": 0}, ["a"])
    (1.0, 1.0)
    """

    def mean(scores: dict[str, float]) -> float:
        fresh = [score for name, score in scores.items() if name not in log]
        return sum(fresh) / len(fresh)

    return mean(remedy) - mean(before), mean(remedy) - mean(control)


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "When are secrets taken out?",
        ["Before the row is written.", "When the log is read.", "Once a year."],
        "a",
        "What was written can be read until it is found and deleted everywhere.",
    ),
    Question(
        "An answer was rated down: the passage was found and misread. Will synonyms help?",
        ["Yes.", "No: the remedy must act in the prompt or the reader.", "Only with more of them."],
        "b",
        "Sort complaints by cause first.",
    ),
]
