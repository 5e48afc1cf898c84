"""Training of a CLIP on recorded drives. Needs the models' environment; see :mod:`.command`."""
