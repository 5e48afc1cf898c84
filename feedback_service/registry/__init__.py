"""The models that can stand behind coaches: what is in the store, what a directory holds, and the live swap."""
