"""Every keyed request in, exactly one named answer out: see :mod:`feedback_service.desk.desk`."""
