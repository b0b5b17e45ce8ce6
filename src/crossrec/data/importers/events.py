"""Read the events of a log in any form that an import reads, without importing them."""

from __future__ import annotations

import logging
from pathlib import Path

from crossrec.data.importers.apply_rules import check_rules, keep_events
from crossrec.data.importers.config import ImportConfig
from crossrec.data.importers.detect import IMPORTERS, collect_files, detect
from crossrec.data.importers.import_card import ImportSteps
from crossrec.data.importers.import_source import SourceFiles
from crossrec.data.importers.read_parts import UNUSABLE, read_parts
from crossrec.data.io.parse_log import InteractionLog
from crossrec.data.sources import existing

logger = logging.getLogger(__name__)


def read_events(source: Path | str, config: ImportConfig = ImportConfig()) -> InteractionLog:  # noqa: B008
    """Read the log ``source``, a file or a folder, with the columns, forms and events of ``config``.

    Rows that repeat a pair stay; no other rule applies. What is odd about ids and times is logged. Raises DataError and
    ConfigError as ``import_data`` does.
    """
    check_rules(config)
    path = existing(str(source))
    files = SourceFiles(str(path), [path]) if path.is_file() else collect_files([path])
    steps = ImportSteps()
    log = read_parts(IMPORTERS[detect(files, config)](files, config), config, steps, lambda step, done, total: None)
    for step in steps.steps:
        if step.what == UNUSABLE:
            logger.warning("%s: rows dropped: %s", path, step.rule)
    keep_events(log, config, steps)
    for note in steps.notes:
        logger.warning("%s: %s", path, note)
    return log
