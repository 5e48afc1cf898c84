"""CLIP: which of the 30 actions of a context fits a picture. Weights are open_clip's, see :mod:`.card`."""
