"""Comparison of detectors on WIDER FACE, for tools/compare_detectors.py.

A detector is a process (:mod:`.worker`) that runs one of the scripts in ``workers/`` in an
environment of its own (:mod:`.environments`); ``detectors.toml`` (:mod:`.table`) names them all. To
add one, write a script like those there and an entry in a table.
"""
