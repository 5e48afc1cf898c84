"""How good coaches are on held-out drives; ``codriver evaluate-models``."""
