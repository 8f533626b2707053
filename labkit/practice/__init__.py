"""After the comparison: log what is asked, and answer your own documents. Introduced in 20_log."""
