"""After the comparison: log what is asked, answer your own documents, measure many settings, play."""
