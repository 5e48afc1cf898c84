"""The models behind Triton: CLIP and vision-language models. Needs the models' environment (``.venv-coach``)."""
