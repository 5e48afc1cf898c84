"""Vision-language models behind Triton. Needs transformers."""
