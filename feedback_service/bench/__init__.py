"""``codriver bench feedback``: what coaching costs the drive, and what it answers, in one run."""
