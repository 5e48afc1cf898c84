"""Supervised fine-tuning of vision-language models on recorded drives. Runs in the models' environment."""
