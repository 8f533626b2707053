"""Part 1 of the course: ingest, chunk, embed, index, retrieve, augment."""
