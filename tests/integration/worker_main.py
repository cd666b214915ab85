"""A worker process for the tests: ``python worker_main.py BOOTSTRAP PREFIX [JSON of options]``."""

import json
import sys

from halts.config import CanaryConfig, Config, KafkaConfig
from streams.batches import Limits
from streams.settings import Settings
from streams.worker import run
from tests.integration import tiny


def main() -> int:
    bootstrap, prefix = sys.argv[1:3]
    options = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
    stage1 = {"counting": tiny.counting, "silent": tiny.silent, "real": lambda: None}[options.pop("stage1", "counting")]
    limits = Limits(options.pop("records_max", 512))
    partitions = options.pop("partitions", 4)
    canary = CanaryConfig(options.pop("canary_ms", 0))  # off: tests count what is on halts
    config = Config(kafka=KafkaConfig(bootstrap=bootstrap, prefix=prefix, partitions=partitions), canary=canary)
    settings = Settings(config, flow_limits=limits, **options)
    return run(settings, stage1_factory=stage1(), desk_factory=tiny.desk(config.desk), loglevel="info")


if __name__ == "__main__":
    sys.exit(main())
