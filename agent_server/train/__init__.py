"""Learners. Behaviour cloning is ``codriver train bc``; see :mod:`agent_server.train.bc`."""
