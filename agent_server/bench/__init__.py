"""``codriver bench serve``: how much of the model's speed is left when it is served."""
