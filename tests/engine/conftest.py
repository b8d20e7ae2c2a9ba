"""train_net.py without a process of its own."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from detectron2.engine import default_argument_parser

from srn_d2.data import register_builtin_datasets


@pytest.fixture
def call_train_net(repo_root, load_script, monkeypatch) -> Callable[..., dict | None]:
    """Call train_net.py's main: ``call_train_net(datasets, "--config-file", "a.yaml")``.

    The loggers, which it sets up to its OUTPUT_DIR, are as before afterwards.
    """
    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "srn_d2")]
    states = [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers]
    monkeypatch.chdir(repo_root)
    main = load_script("train_net.py").main

    def call(datasets: Path, *arguments: str) -> dict | None:
        register_builtin_datasets(datasets)
        return main(default_argument_parser().parse_args(list(arguments)))

    yield call
    register_builtin_datasets()
    for logger, state in zip(loggers, states, strict=True):
        logger.handlers[:], logger.propagate, logger.level = state
