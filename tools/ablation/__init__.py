"""What tools/ablation.py does: trainings of the rows of an ablation, tables, gradients."""
