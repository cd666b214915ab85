"""Does this process run the configuration that was approved?"""

from halts.changes import digest, settings_of
from halts.config import Config, ConfigError
from streams.halts_log import HaltsLog


def must_be_approved(config: Config, halts: HaltsLog) -> None:
    """Raises ConfigError if the desk's last heartbeat names another configuration than this. Where none was ever
    approved, any will do."""
    beat = halts.beat
    if beat is None or not beat.config_version:
        return
    own = digest(settings_of(config))
    if own != beat.config_digest:
        raise ConfigError(
            "the configuration of this worker",
            "",
            f"settings of digest {own}",
            f"version {beat.config_version}, digest {beat.config_digest}, which is approved",
            "see 'knightwatch config diff FILE'; propose the file with 'knightwatch config propose FILE', or start with "
            "the approved one",
        )
