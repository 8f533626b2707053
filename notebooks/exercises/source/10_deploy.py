# %% [markdown]
# # 10 · Deploy: exercises
#
# You will merge an adapter, write the gate that a model must pass, and trust an export only if it is whole.

# %%
import numpy as np
from checks import Question, exercise

# %% [markdown]
# ## 1. Merge
#
# Merging adds alpha / rank * B A to W once, and the adapter's two products need not be computed again at every token.
# To undo it, subtract the same.


# %% tags=["solution"]
@exercise(
    cases=[
        ([[1, 0], [0, 1]], [[1, 2]], [[1], [3]], 2),
        ([[0, 0, 0]], [[1, 0, 1], [0, 1, 0]], [[1, 1]], 4),
        ([[1, 1], [1, 1]], [[1, 0], [0, 1]], [[1, 0], [0, 2]], 1),
    ],
    hint="B of shape (out, rank) times A of shape (rank, in) has W's shape; A has rank rows.",
    wrong=[
        ("alpha / len(A)", "alpha"),
        ("alpha / len(A)", "len(A) / alpha"),
        ("np.array(W) + ", "np.array(W) - "),
    ],
)
def merged(W: list, A: list, B: list, alpha: float) -> list[list[float]]:
    """W + alpha / rank * B A, for W of shape (out, in), A (rank, in), B (out, rank).

    >>> merged([[1, 0], [0, 1]], [[1, 2]], [[1], [3]], 2)
    [[3.0, 4.0], [6.0, 13.0]]
    """
    return (np.array(W) + alpha / len(A) * (np.array(B) @ np.array(A))).tolist()


# %% [markdown]
# ## 2. The gate
#
# Limits are written down before a model is measured, some from below (accuracy), some from above (milliseconds).
# Whatever was not measured has not passed.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"accuracy": 0.8, "ms": 90}, {"accuracy": (0.7, None), "ms": (None, 100)}),
        ({"accuracy": 0.6, "ms": 120}, {"accuracy": (0.7, None), "ms": (None, 100)}),
        ({"accuracy": 0.7}, {"accuracy": (0.7, None), "ms": (None, 100)}),
        ({"style": 0.0}, {"style": (0.0, 0.0)}),
        ({"gain": -0.5}, {"gain": (0, None)}),
        ({"loss": 2.0, "more": 1}, {"loss": (1.0, 1.5)}),
    ],
    hint="A limit that is met exactly is kept. A figure that is missing breaks its limit; 0 is a limit, None is none.",
    wrong=[
        ("measured[name] < low", "measured[name] <= low"),
        ("low is not None and", "low and"),
        ("name not in measured", "False"),
        ("measured[name] > high", "measured[name] < high"),
    ],
)
def broken(measured: dict[str, float], limits: dict[str, tuple]) -> list[str]:
    """The names, in the limits' order, of the limits (low, high) that are not kept; None stands for no limit on that side.

    >>> broken({"accuracy": 0.6}, {"accuracy": (0.7, None), "ms": (None, 100)})
    ['accuracy', 'ms']
    """
    found = []
    for name, (low, high) in limits.items():
        missing = name not in measured
        if missing or (low is not None and measured[name] < low) or (high is not None and measured[name] > high):
            found.append(name)
    return found


# %% [markdown]
# ## 3. Whole, or not there
#
# A copy that was interrupted leaves a folder that looks like a model. The manifest is written last and lists every file
# with its hash: an export is trusted if the folder holds exactly these files, with these hashes.


# %% tags=["solution"]
@exercise(
    cases=[
        ({"a": "1", "b": "2"}, {"a": "1", "b": "2"}),
        ({"a": "1", "b": "2"}, {"a": "1"}),
        ({"a": "1"}, {"a": "1", "b": "2"}),
        ({"a": "1", "b": "2"}, {"a": "1", "b": "3"}),
        (None, {"a": "1"}),
        ({"a": "2"}, {"b": "2"}),
    ],
    hint="Without a manifest nothing is trusted; a file too many is as bad as one too few.",
    wrong=[
        ("manifest == files", "all(files.get(name) == value for name, value in manifest.items())"),
        ("manifest == files", "manifest.keys() == files.keys()"),
        ("manifest is not None and", "manifest is None or"),
    ],
)
def trusted(manifest: dict[str, str] | None, files: dict[str, str]) -> bool:
    """Whether a folder's files (name to hash, the manifest itself left out) are the ones its manifest lists.

    `manifest` is None where there is none.

    >>> trusted({"a": "1"}, {"a": "1", "b": "2"})
    False
    """
    return manifest is not None and manifest == files


# %% tags=["questions"]
QUESTIONS = [
    Question(
        "A model was trained with its base in four bits. Into which weights do you merge the adapter?",
        [
            "Into the four-bit ones, as it was trained.",
            "It makes no difference.",
            "Measure both: merging into four bits rounds the sum anew.",
        ],
        "c",
        "Merged in full precision the answers can be compared; in four bits the logits move further.",
    ),
    Question(
        "A tuned model passes when called in process. Is the service ready?",
        [
            "Not yet: compare what the server says with what the model says.",
            "Yes, the weights are the same.",
            "Yes, if the server starts.",
        ],
        "a",
        "Template, sampling and limits are the server's: it is part of the model.",
    ),
]
