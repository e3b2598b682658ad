"""Processes for stress tests, forked from one that has imported everything already."""

import multiprocessing

import pytest


@pytest.fixture(scope="session")
def start_worker():
    """Return a function that starts a program, which finds its arguments in ``arguments``.

    A worker is at work after some milliseconds instead of after seconds of imports, so that a
    kill at a random moment meets it there.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "traceprop_engine.store"])
    started = []

    def start(program, *arguments):
        process = context.Process(target=exec, args=(program, {"arguments": arguments}))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
