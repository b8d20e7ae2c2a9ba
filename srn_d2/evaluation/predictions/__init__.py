"""Predictions of any detector: folders of text files, COCO results, faces.json, CSV."""
