"""Exercises that check themselves: the learner fills in a function, hidden cases say what is wrong with it."""

from labkit.exercises.check import check as check
from labkit.exercises.check import quiz as quiz
from labkit.exercises.lesson import Question as Question
from labkit.exercises.lesson import exercise as exercise
