"""Collection: driving recorded with expert labels, as a dataset to learn from."""
