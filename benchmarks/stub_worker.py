"""A worker without a framework, which trains an epoch by sleeping: 50 ms, or $TUNER_STUB_SECONDS.

It is started as real workers are, and says what they say.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection

from tuner.execution.protocol import Epoch, Finished, Ready, TrainTrial, WorkerSetup
from tuner.execution.worker import Mailbox


def main() -> None:
    connection = Connection(int(sys.argv[1]))
    mailbox = Mailbox(connection)
    setup = mailbox.next()
    assert isinstance(setup, WorkerSetup)
    seconds = float(os.environ.get("TUNER_STUB_SECONDS", "0.05"))
    connection.send(Ready("stub", 0.0, {}))
    while isinstance(task := mailbox.next(), TrainTrial):
        train(task, seconds, connection, mailbox)
    os._exit(0)


def train(task: TrainTrial, seconds: float, connection: Connection, mailbox: Mailbox) -> None:
    for epoch in range(1, task.until + 1):
        if mailbox.gives_up(task):
            break
        begun = time.perf_counter()
        time.sleep(seconds)
        value = epoch / (epoch + 10) * (1 - task.number % 10 / 20)
        metrics = {"loss": 1 - value, "accuracy": value, "val_loss": 1.0, "val_accuracy": value}
        connection.send(Epoch(task.number, epoch, metrics, time.perf_counter() - begun))
    connection.send(Finished(task.number))


if __name__ == "__main__":
    main()
