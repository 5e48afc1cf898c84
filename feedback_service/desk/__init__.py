"""Every keyed request in, exactly one named answer out."""
