"""Videos and cameras: faces found, drawn or hidden. ``process_video`` does it."""
