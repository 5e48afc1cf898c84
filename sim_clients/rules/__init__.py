"""Traffic rules: what the ego must heed ahead, and what it has broken."""
