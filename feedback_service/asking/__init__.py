"""From waiting rows to calls of a model: when, how many at once, what to try again and when to give up."""
