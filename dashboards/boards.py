"""The boards, Fleet first: it is the one on the wall."""

from typing import Final

from dashboards import board_detectors, board_fleet, board_halts, board_pipeline, board_server
from dashboards.board import Board

ALL: Final[tuple[Board, ...]] = (
    board_fleet.build(),
    board_server.build(),
    board_halts.build(),
    board_detectors.build(),
    board_pipeline.build(),
)
