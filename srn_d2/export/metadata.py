"""Metadata of an exported file: see :mod:`srn_d2.inference.export_metadata`."""

from srn_d2.inference.export_metadata import ExportMetadata

__all__ = ["ExportMetadata"]
