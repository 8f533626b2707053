"""Part 3 of the course: put the four arms side by side and judge."""
