"""The way to Triton: its client, and the one that this project starts itself."""
