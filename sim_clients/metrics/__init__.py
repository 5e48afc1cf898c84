"""What a drive is scored by: energy, the record of an episode, the summary of many."""
