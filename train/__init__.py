"""Fine-tune, evaluate, select: the only package that imports torch."""
