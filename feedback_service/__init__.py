"""The feedback service: keyed, asynchronous annotation of driving scenes by vision-language models."""
