"""`python -m labkit.exercises` writes the learner's notebooks from notebooks/exercises/source."""

import sys

from labkit.exercises.build import main

if __name__ == "__main__":
    sys.exit(main())
