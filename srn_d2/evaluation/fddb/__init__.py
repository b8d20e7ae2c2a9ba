"""FDDB's discrete and continuous ROC curves."""
