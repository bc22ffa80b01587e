"""Holders: a process is named so that its machine can see whether it lives."""

import os
import subprocess
import sys

import pytest

from django_durable.engine import holders


@pytest.fixture(autouse=True)
def outside_of_workers():
    holders.join("")
    yield
    holders.join("")


def test_this_process_is_alive():
    assert not holders.is_dead(holders.this_process())


def test_a_holder_names_machine_process_and_start():
    machine, pid, started, node = holders.this_process().split(":")
    assert (machine, pid, node) == (holders.machine(), str(os.getpid()), "")
    assert started


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


def test_a_worker_says_its_node_name_and_so_do_its_children():
    before = holders.this_process()
    holders.join("celery@web:1")
    assert holders.this_process() == f"{before}celery@web:1"
    assert not holders.is_dead(holders.this_process())
    assert holders.is_dead(f"{holders.machine()}:{os.getpid()}:1:celery@web:1")


def test_long_node_names_fit_the_column_and_stay_apart():
    told = set()
    for number in range(2):
        holders.join(f"celery@{'x' * 300}{number}")
        told.add(holders.this_process())
    assert len(told) == 2
    assert max(map(len, told)) <= 120


@pytest.mark.parametrize(
    ("holder", "succeeded"),
    [
        ("elsewhere:1:1:celery@web:1", True),
        ("elsewhere:1:1:celery@web", False),
        ("elsewhere:1:1:", False),
        ("elsewhere:1:1", False),
        ("", False),
        (f"{holders.machine()}:{os.getppid()}:1:celery@web:1", False),  # here the process table knows better
    ],
)
def test_a_worker_succeeds_those_of_its_name_on_other_machines(holder, succeeded):
    holders.join("celery@web:1")
    assert holders.is_predecessor(holder) is succeeded


def test_what_belongs_to_no_worker_succeeds_nobody():
    assert not holders.is_predecessor("elsewhere:1:1:")
    assert not holders.is_predecessor("elsewhere:1:1:celery@web")
