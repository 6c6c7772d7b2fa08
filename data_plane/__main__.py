"""`python -m data_plane --config agent.toml`: runs the agent until SIGTERM or SIGINT, then drains.

Enrols first when the state directory holds no identity yet. With `workers` above 1 this process only watches the
workers, which are the same command with `--worker N`.
"""

from __future__ import annotations

import sys

# structlog loads it when it is there, for the command line: 4 MiB of each agent's memory, for nothing.
sys.modules["rich"] = None  # type: ignore[assignment]

# ruff: noqa: E402
import argparse
import asyncio
import gc
import logging
import signal
from pathlib import Path

import structlog
import uvloop

from data_plane import config as configuration
from data_plane.assembly import VERSION, Worker, metrics_of_workers
from data_plane.config import Config, ConfigError
from data_plane.link import enrolment
from data_plane.link.enrolment import EnrolmentError
from data_plane.link.files import private_directory
from data_plane.link.identity import Identity, IdentityStore
from data_plane.runtime import descriptors, memory
from data_plane.runtime.workers import CANNOT_START, Workers

log = structlog.get_logger(__name__)

_COLLECT_AFTER = 20_000  # objects: what a statement leaves behind is no garbage, it waits for the recording thread
_OWN_NAMES = ("localhost", "127.0.0.1", "::1")


def main() -> int:
    parser = argparse.ArgumentParser(prog="assentry agent", description="Runs one agent.")
    parser.add_argument("--config", type=Path, required=True, help="the agent's TOML file")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        config = configuration.load(arguments.config)
        _configure_logs(config.settings.log_level)
        gc.set_threshold(_COLLECT_AFTER)
        descriptors.take_all()
        memory.give_back()
        return uvloop.run(_run(config, arguments.worker))
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return CANNOT_START
    except EnrolmentError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


async def _run(config: Config, worker: int | None) -> int:
    store = IdentityStore(private_directory(config.state))
    identity = store.load() or await _enrol(config, store)
    store.write_pem_files(identity)
    stop = asyncio.Event()
    if worker is None and config.settings.workers > 1:
        _on_signals(stop)
        command = [sys.executable, "-m", "data_plane", "--config", str(config.file), "--worker"]
        patience = config.settings.drain_seconds + 20
        metrics = metrics_of_workers(config)
        try:
            return await Workers(config.settings.workers, lambda index: [*command, str(index)], patience).run(stop)
        finally:
            metrics.close()
    process = Worker(config, worker or 0, store, identity)
    _on_signals(process.agent.stop)
    if worker is not None:
        _on_orphaned(process.agent.stop)
    await process.run()
    return 0


async def _enrol(config: Config, store: IdentityStore) -> Identity:
    hosts = {address.host for address in config.listeners.values()} - {"0.0.0.0", "::"}  # noqa: S104 - compared only
    identity = await enrolment.enrol(
        address=config.enrolment,
        ca=config.control_plane_ca,
        token=config.join_token,
        agent_name=config.settings.name,
        listener_names=sorted({*_OWN_NAMES, *hosts, *config.settings.listen_names}),
        version=VERSION,
    )
    store.keep(identity)
    log.info("enrolled", agent=identity.agent_id, deployment=identity.deployment)
    return identity


def _on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


def _on_orphaned(stop: asyncio.Event) -> None:
    """The process that watches this one writes nothing: when there is something to read, it is gone."""
    loop = asyncio.get_running_loop()
    watcher = sys.stdin.fileno()

    def gone() -> None:
        loop.remove_reader(watcher)
        log.error("the process that watches the workers is gone; this worker drains")
        stop.set()

    loop.add_reader(watcher, gone)


def _configure_logs(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


if __name__ == "__main__":
    sys.exit(main())
