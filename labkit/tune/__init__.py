"""Part 2 of the course: prepare data, train, adapt."""
