"""Files that others wrote or will read: text and tables, JSON from strangers, TREC."""
