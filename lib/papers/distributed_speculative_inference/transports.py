"""Where workers live: threads of this process, processes of this machine, or actors of a Ray cluster."""

from __future__ import annotations

import multiprocessing
import queue
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from typing import Any

from .errors import SpeculationError
from .workers import Mailbox, Port, draft, serve

DRAFTER = -1


class Threads:
    """Workers as threads; torch releases the interpreter lock inside its kernels."""

    def __init__(self, make_target: Callable[[], Any], make_drafter: Callable[[], Any], servers: int):
        self.events: queue.Queue = queue.Queue(256)
        self.ports, self.threads = {}, []
        for name in (*range(servers), DRAFTER):
            self.ports[name] = Mailbox()
            port = Port(self.ports[name], _Tagged(name, self.events))
            work, make = (draft, make_drafter) if name == DRAFTER else (serve, make_target)
            self.threads.append(threading.Thread(target=_guarded, args=(work, port, make), daemon=True))
            self.threads[-1].start()

    def send(self, name: int, message) -> None:
        """Give a message to a worker."""
        self.ports[name].put(message)

    def receive(self, seconds: float) -> tuple | None:
        """The next ``(worker, message)``, or None after some seconds."""
        try:
            return self.events.get(timeout=seconds) if seconds > 0 else self.events.get_nowait()
        except queue.Empty:
            return None

    def close(self, patience: float = 2.0) -> None:
        """End all workers; a hanging thread is left behind as a daemon."""
        for inbox in self.ports.values():
            inbox.put(None)
        end = time.monotonic() + patience
        for t in self.threads:
            while t.is_alive() and time.monotonic() < end:
                self.receive(0.01)  # a worker may wait for room to send
                t.join(0.01)


class _Tagged:
    """The sending side of a worker's port: adds its name."""

    def __init__(self, name: int, events: queue.Queue):
        self.name, self.events = name, events

    def put(self, message) -> None:
        self.events.put((self.name, message))


def _guarded(work, port, make) -> None:
    try:
        work(port, make)
    except Exception as e:  # a model that cannot be made
        port.send(("failed", None, f"{type(e).__name__}: {e}"))


def _child(work, connection, make) -> None:
    import torch
    torch.set_num_threads(1)
    try:
        _guarded(work, connection, make)
    except (BrokenPipeError, EOFError, KeyboardInterrupt):
        pass


class Processes:
    """Workers as spawned processes, one thread each; ``make_*`` must be picklable, such as a function of a module."""

    def __init__(self, make_target: Callable[[], Any], make_drafter: Callable[[], Any], servers: int):
        context = multiprocessing.get_context("spawn")
        self.connections, self.processes, self.boxes = {}, {}, {}
        for name in (*range(servers), DRAFTER):
            here, there = context.Pipe()
            work, make = (draft, make_drafter) if name == DRAFTER else (serve, make_target)
            process = context.Process(target=_child, args=(work, there, make), daemon=True)
            process.start()
            there.close()
            self.connections[name], self.processes[name], self.boxes[name] = here, process, Mailbox()
            threading.Thread(target=_pump, args=(self.boxes[name], here), daemon=True).start()

    def send(self, name: int, message) -> None:
        """Give a message to a worker; what a dead one does not take, :meth:`receive` reports."""
        self.boxes[name].put(message)

    def receive(self, seconds: float) -> tuple | None:
        """The next ``(worker, message)``, or None after some seconds; a death is the message ``failed``."""
        by = {c: name for name, c in self.connections.items()}
        for c in wait(list(by), max(0.0, seconds)):
            try:
                return by[c], c.recv()
            except (EOFError, OSError):
                c.close()
                del self.connections[by[c]]
                return by[c], ("failed", None, "the process died")
        return None

    def close(self, patience: float = 2.0) -> None:
        """End all processes, by force after some seconds."""
        for name in self.boxes:
            self.send(name, None)
        for p in self.processes.values():
            p.join(patience / 2)
            if p.is_alive():
                p.kill()
                p.join()
        for c in self.connections.values():
            c.close()


def _pump(box: Mailbox, connection) -> None:
    """Carry messages to a process, so that a full pipe keeps no one waiting but this thread."""
    while True:
        message = box.get()
        try:
            connection.send(message)
        except (BrokenPipeError, OSError):
            return
        if message is None:
            return


class RayActors:
    """Workers as actors of a Ray cluster that is running or is started here; needs the extra ``[cluster]``.

    What ``make_*`` imports must be importable on every node, as for any Ray actor.
    """

    def __init__(self, make_target: Callable[[], Any], make_drafter: Callable[[], Any], servers: int, num_gpus: float = 0,
                 num_cpus: float = 1):
        try:
            import ray
        except ImportError as e:
            raise SpeculationError("the transport \"ray\" needs Ray; install the extra [cluster].") from e
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        self.ray = ray

        class Actor(_Actor):  # one thread for each direction, so that messages keep their order
            push = ray.method(concurrency_group="push")(_Actor.push)
            pull = ray.method(concurrency_group="pull")(_Actor.pull)

        actor = ray.remote(concurrency_groups={"push": 1, "pull": 1}, num_gpus=num_gpus, num_cpus=num_cpus,
                           max_restarts=0)(Actor)
        self.actors = {name: actor.remote("draft" if name == DRAFTER else "serve",
                                          make_drafter if name == DRAFTER else make_target)
                       for name in (*range(servers), DRAFTER)}
        self.pulls = {a.pull.remote(): name for name, a in self.actors.items()}

    def send(self, name: int, message) -> None:
        """Give a message to a worker."""
        if name in self.actors:
            self.actors[name].push.remote(message)

    def receive(self, seconds: float) -> tuple | None:
        """The next ``(worker, message)``, or None after some seconds; a lost node is the message ``failed``."""
        ready, _ = self.ray.wait(list(self.pulls), num_returns=1, timeout=max(0.0, seconds))
        if not ready:
            return None
        name = self.pulls.pop(ready[0])
        try:
            message = self.ray.get(ready[0])
        except self.ray.exceptions.RayError as e:
            del self.actors[name]
            return name, ("failed", None, f"{type(e).__name__}: {' '.join(str(e).split())[:200]}")
        self.pulls[self.actors[name].pull.remote()] = name
        return name, message

    def close(self, patience: float = 2.0) -> None:
        """End all actors."""
        for a in self.actors.values():
            self.ray.kill(a)


class _Actor:
    """Runs a worker in a thread of its own; ``push`` and ``pull`` are its mailbox."""

    def __init__(self, work: str, make):
        self.inbox, self.outbox = Mailbox(), queue.Queue(256)
        threading.Thread(target=_guarded, args=(draft if work == "draft" else serve, Port(self.inbox, self.outbox), make),
                         daemon=True).start()

    def push(self, message) -> None:
        self.inbox.put(message)

    def pull(self):
        return self.outbox.get()


TRANSPORTS = {"threads": Threads, "processes": Processes, "ray": RayActors}
