"""What tools/compare_runtimes.py does: an exported graph in other runtimes, each in its process."""
