"""Fine-tuning of coaches on recorded drives: ``codriver finetune clip`` and ``codriver finetune vlm``."""
