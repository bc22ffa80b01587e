"""Holders: a process is named so that its machine can see whether it lives."""

import os
import subprocess
import sys

import pytest

from django_durable.engine import holders


def test_this_process_is_alive():
    assert not holders.is_dead(holders.this_process())


def test_a_holder_names_machine_process_and_start():
    machine, pid, started = holders.this_process().split(":")
    assert (machine, pid) == (holders.machine(), str(os.getpid()))
    assert started
    assert len(holders.this_process()) <= 120


def test_a_process_that_ended_is_dead():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        name = holders.name_of(process.pid)
        assert not holders.is_dead(name)
        process.kill()
        process.wait()
        assert holders.is_dead(name)


def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    name = holders.name_of(process.pid)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet reaped
    try:
        assert holders.is_dead(name)
    finally:
        process.wait()


def test_a_pid_that_was_given_to_another_process_is_dead():
    assert holders.is_dead(f"{holders.machine()}:{os.getpid()}:1")


def test_what_cannot_be_judged_from_here_counts_as_alive():
    for doubtful in ["", "elsewhere:1:1", f"elsewhere:{os.getpid()}:1", f"{holders.machine()}:x:1", holders.machine()]:
        assert not holders.is_dead(doubtful)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_a_name_of_its_own():
    parent = holders.this_process()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, holders.this_process().encode())
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    child = os.read(reading, 200).decode()
    os.close(reading)
    os.close(writing)
    assert child != parent
    assert child.split(":")[1] == str(pid)
