# %% [markdown]
# # 16 · Use cases
#
# You will put five pieces of advice to the test, one for each job that the article names:
#
# - see what each job hands you, what it asks for, and what it rewards;
# - let the four arms do all five jobs, and weigh what they achieve into one number, the *utility*;
# - set the winner that you measured beside the one that the article advises;
# - change the weights, and find out which advice hangs on them.
#
# *Before this: 12 Compare. About 25 minutes; the first run trains many small adapters, which takes some of them.*

# %% tags=["parameters"]
PROFILE, SIZE = "pocket", "full"

# %%
import labkit

lab = labkit.open(PROFILE, size=SIZE)
lab

# %% [markdown]
# ## 1. Five jobs
#
# The article has one best choice for each. Every job here has documents, questions and training pairs of its own, about
# things that exist nowhere else.

# %%
import pandas as pd

from labkit.compare import use_cases

pd.set_option("display.max_colwidth", 100)
studies = use_cases.load_studies(lab)
sizes = {s.title: [s.advised, s.why, len(s.documents), len(s.pairs), len(s.questions)] for s in studies.values()}
pd.DataFrame(sizes, index=["the article says", "because", "documents", "pairs", "questions"]).T

# %% [markdown]
# The jobs are of two families. Three of them **look things up**: the answer stands in some page, and must be found.
# Some pages changed *after* the training pairs were written. Here is one such page, and a question about what changed
# in it:

# %%
bot = studies["support_bot"]
item = next(i for i in bot.questions if i.kind == "changed fact")
for when, documents in (("then", bot.documents), ("today", bot.today)):
    print(f"{when}:", next(d.text for d in documents if d.id == item.evidence[0].document), "\n")
print(item.question, "→", item.gold)

# %% [markdown]
# The other two **transform** what they are given: reviews into a summary, a sheet of figures into a report. The
# material comes with the request, so *every* arm gets it, base and fine-tuned too. No product of the test occurs in the
# pairs: there is nothing to recite, only a task to learn.
#
# What is left to retrieve? Earlier replies. RAG and hybrid find the most similar requests of the past, with the replies
# that were given then: examples in the prompt, out of the same pairs that fine-tuning learns from.

# %%
summariser = studies["review_summariser"]
request = summariser.questions[0]
hits = use_cases.retriever(lab, summariser, "rag").search(request.question, summariser.passages)
print(request.question, "→", request.answer)
pd.DataFrame([{"title": h.chunk.title, "text": h.chunk.text} for h in hits])

# %% [markdown]
# ## 2. What each job rewards
#
# One number decides who wins, and it is a choice: each job weighs its metrics differently. A support bot must be up to
# date, a legal assistant must cite, a summary must have its form. The weights were written down before anything was
# measured, in `data/use_cases/studies.yaml`. Sections 5 and 6 ask what becomes of the winner if you disagree with them.

# %%
weights = pd.DataFrame({s.title: s.weights for s in studies.values()}).reindex(list(use_cases.METRICS))
weights.insert(0, "what it counts", pd.Series(use_cases.METRICS))
weights.fillna("")

# %% [markdown]
# Every metric runs from 0 to 1 and counts only the questions that it applies to: *fresh* those about a changed fact,
# *declines* those that no document answers. The utility is the weighed mean, so it too runs from 0 to 1.
#
# ## 3. One job closely
#
# The support bot. First the question from above, with what each arm made of it:

# %%
answers = use_cases.answers(lab, bot)
told = answers[(answers.id == item.id) & (answers.seed == 0)]
told.set_index("arm")[["text", "correct", "style", "prompt_tokens"]]

# %% [markdown]
# Then all questions: a row for each metric, its weight, and the utility that follows.

# %%
support = use_cases.utility(bot, answers)
scores = pd.DataFrame(support.means).round(2)
scores.insert(0, "weight", support.weights.round(2))
scores.loc["utility"] = [1, *(round(support.of(arm).mean, 2) for arm in support.tables)]
scores

# %% [markdown]
# Read it column by column: where does each arm earn, and where does it lose? To win on utility, an arm need not win on
# every line.
#
# Look at `style` before you believe a utility. An arm that was trained for a style and does not keep it has practised too
# little, and its utility then judges that training and not the method. The hybrids of this lesson learn from a few dozen
# rows in a few dozen steps.
#
# ## 4. All five, beside the advice
#
# Tuned arms are trained with several seeds; a question's score is their mean. The intervals resample questions.

# %%
measured = use_cases.measure(lab)

# %%
import matplotlib.pyplot as plt

from labkit import plot

figure, panels = plt.subplots(len(measured), 1, figsize=(5.4, 7), sharex=True)
for axes, (name, job) in zip(panels, measured.items(), strict=True):
    found = {arm: job.of(arm) for arm in job.tables}
    for row, (arm, v) in enumerate(found.items()):
        colour, marker = plot.LOOK[arm]
        axes.errorbar(v.mean, row, xerr=[[v.mean - v.low], [v.high - v.mean]], color=colour, marker=marker)
    title = f"{studies[name].title} (the article: {studies[name].advised})"
    axes.set(yticks=range(len(found)), yticklabels=found, ylim=(len(found) - 0.5, -0.5), title=title)
    print(
        studies[name].title,
        *(f"{arm} {v.mean:.2f} ({v.low:.2f} to {v.high:.2f})" for arm, v in found.items()),
        sep=" · ",
    )
axes.set(xlabel="utility", xlim=(0, 1))
plt.close()
figure

# %% [markdown]
# Did the advised arm win? Its *lead* is its utility less that of the best other arm, on the same questions. The lower
# end of the interval is above zero only if the advised arm is told apart from **every** other; the upper end is below
# zero only if **some** other arm beats it, at a stricter level, because three may try.


# %%
def judge(lead):
    return "supported" if lead.low > 0 else "refuted" if lead.high < 0 else "not decided"


leads = {name: job.lead(studies[name].advised) for name, job in measured.items()}
verdicts = {
    studies[name].title: {
        "the article says": studies[name].advised,
        "best here": measured[name].best,
        "lead of the advised": f"{lead.mean:+.2f} [{lead.low:+.2f}, {lead.high:+.2f}]",
        "the advice is": judge(lead),
    }
    for name, lead in leads.items()
}
pd.DataFrame(verdicts).T

# %% [markdown]
# ## 5. What if you weigh otherwise?
#
# The weights are ours. So draw ten thousand others, evenly from all that are possible, and count how often each arm
# leads. An arm that leads under nearly all weights needs no debate about them; two arms that share the field do.

# %%
import numpy as np

shares = {}
for name, job in measured.items():
    drawn = np.random.default_rng(0).dirichlet(np.ones(len(job.metrics)), 10_000)
    scores = pd.DataFrame(drawn @ pd.DataFrame(job.means), columns=list(job.means))
    leads_here = scores.gt(scores.max(axis=1) - 1e-9, axis=0)  # of equal arms each has its part
    shares[studies[name].title] = leads_here.div(leads_here.sum(axis=1), axis=0).mean()
shares = pd.DataFrame(shares).T
figure, text = plot.shares(shares)
print("Share of all weights under which each arm leads.", text, sep="\n")
figure

# %% [markdown]
# ## 6. Where the lead changes
#
# Random weights say how debatable a winner is; whoever must decide asks *which* weight matters. A *rank reversal* is a
# point at which another arm takes the lead. Move one weight up or down from where it was set, let the others share the
# rest as before, and note the first such point.

# %%
turns = []
for name, job in measured.items():
    for metric, stated in zip(job.metrics, job.weights, strict=True):
        this = np.array(job.metrics) == metric
        others = np.where(this, 0, job.weights)
        for end in (0.0, 1.0) if others.any() else ():
            for at in np.linspace(stated, end, 201):
                utilities = (at * this + (1 - at) * others / others.sum()) @ pd.DataFrame(job.means)
                if utilities.max() > utilities[job.best] + 1e-9:
                    about = {"job": studies[name].title, "metric": metric, "stated": stated, "at": at}
                    turns.append({**about, "leader": job.best, "rival": utilities.idxmax()})
                    break
print(len(turns), "reversals")
pd.DataFrame(turns, columns=["job", "metric", "stated", "at", "leader", "rival"]).round(2)

# %% [markdown]
# A line reads: `leader` leads at the stated weights, but once `metric` weighs `at`, `rival` does. Near the stated
# weight a reversal is a warning. Here is the support bot with more and more weight on style; where lines cross, ranks
# reverse.

# %%
means, share = pd.DataFrame(support.means), np.linspace(0, 1, 21)
rest = pd.Series(dict(bot.weights)).drop("style")
figure, axes = plt.subplots(figsize=(5.4, 2.8))
for arm in means:
    line = share * means[arm]["style"] + (1 - share) * (means[arm] * rest / rest.sum()).sum()
    axes.plot(share, line, color=plot.LOOK[arm][0], marker=plot.LOOK[arm][1], markevery=5, label=arm)
axes.axvline(bot.weights["style"], color="#999999", linestyle=":")
axes.set(xlabel="weight of style (dotted: as stated)", ylabel="utility", ylim=(0, 1))
axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1))
best = {
    w: (w * means.loc["style"] + (1 - w) * means.mul(rest / rest.sum(), axis=0).sum()).idxmax() for w in (0, 0.5, 1)
}
print("Best arm by the weight of style:", best)
plt.close()
figure

# %% [markdown]
# ## 7. One arm for every job?
#
# The article ends on the hybrid as the future. Let all five jobs count the same:

# %%
everything = use_cases.join(measured)
for arm in everything.tables:
    v = everything.of(arm)
    print(f"{arm:7} {v.mean:.2f} [{v.low:.2f}, {v.high:.2f}]")
lead = everything.lead("hybrid")
print(f"lead of the hybrid: {lead.mean:+.2f} [{lead.low:+.2f}, {lead.high:+.2f}], so the advice is {judge(lead)}")

# %% [markdown]
# ## Takeaways
#
# Counted from the numbers above:

# %%
won = sum(measured[name].best == studies[name].advised for name in studies)
print(f"• The advised arm is the best measured in {won} of {len(studies)} jobs, on these questions.")
for word in ("supported", "refuted", "not decided"):
    names = [title for title, row in verdicts.items() if row["the advice is"] == word]
    print(f"• {word}: {', '.join(names) or 'none'}.")
steady = [title for title, row in shares.iterrows() if row.max() > 0.9]
print(f"• The same arm leads under nine of ten possible weights or more: {', '.join(steady) or 'in no job'}.")
print(f"• A moved weight changes the leader in {len({turn['job'] for turn in turns})} of {len(studies)} jobs.")

# %% [markdown]
# - Advice for a *job* is advice for a data set, a style and weights. Say yours before you measure, not after.
# - A small model stands here for a large one. The way of measuring carries over; the winners need not (`PROFILE`).
#
# ## Exercises
#
# 1. In `data/use_cases/studies.yaml`, set the weight of `style` to 0 for the legal assistant and run again. Nothing is
#    trained anew. Who leads now, and did section 6 foretell it?
# 2. Halve the `budget` of the support bot. Which arms lose, and is it more than the weight of `frugal` can explain?
# 3. Read the financial reports of the fine-tuned arm (`use_cases.answers(lab, studies["financial_report"])`). Does it
#    quote the figures rightly and still get the change wrong? Which metric tells you?
# 4. RAG in the summariser reads earlier replies. Give it none, as base has: how much do the examples bring?
# 5. Add a sixth job: a folder with documents, questions and pairs, and an entry in `studies.yaml`. Write the weights
#    first.
