# SPDX-License-Identifier: Apache-2.0
"""Puts at a steady rate in short windows, while one node that does not lead has something to do.

All nodes are on one machine and one disk; that node has the last processor for itself, from the
beginning on, as if it were a machine of its own, unless --share.
"""

import argparse
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request

import report
from systems import BUILD, NODES, ROOT, Strongroom, run


def parser(about, port_base):
    made = argparse.ArgumentParser(description=about)
    made.add_argument("--gigabytes", type=float, default=2, help="of values (default: 2)")
    made.add_argument("--value-bytes", type=int, default=1024)
    made.add_argument("--rate", type=float, default=2000, help="puts a second; 0: a closed loop")
    made.add_argument("--clients", type=int, default=64)
    made.add_argument("--seconds", type=float, default=3, help="length of a window (default: 3)")
    made.add_argument("--windows", type=int, default=10, help="before, and after (default: 10)")
    made.add_argument("--settle", type=float, default=30,
                      help="seconds between filling and measuring (default: 30)")
    made.add_argument("--share", action="store_true", help="all nodes use all processors")
    made.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    made.add_argument("--json", type=pathlib.Path, help="write all windows there")
    made.add_argument("--dir", help="where the data goes (default: a new one in /var/tmp)")
    made.add_argument("--port-base", type=int, default=port_base)
    return made


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def cluster(options, name):
    """One in a directory of its own, not started; all of it is gone afterwards."""
    if not (BUILD / "build.ninja").exists():
        run("cmake", "--preset", "release", cwd=ROOT, capture_output=True)
    run("cmake", "--build", BUILD, "--target", "strongroomd", "strongroom", "strongroom-load",
        capture_output=True)
    directory = pathlib.Path(options.dir or tempfile.mkdtemp(prefix=f"strongroom-{name}-",
                                                             dir="/var/tmp"))
    directory.mkdir(parents=True, exist_ok=True)
    system = Strongroom(directory, options.port_base)
    try:
        yield system
    finally:
        system.stop()
        if not options.dir:
            shutil.rmtree(directory, ignore_errors=True)


def fill(system, options):
    """A cluster that has been started."""
    keys = int(options.gigabytes * 1e9 / options.value_bytes)
    say(f"writing {keys:,} values of {options.value_bytes} bytes")
    done = system.load("--op", "fill", "--clients", 256, "--keys", keys,
                       "--value-bytes", options.value_bytes, endpoints=system.leader_first())
    if done.returncode != 0:
        raise RuntimeError(f"fill: {done.stderr}")
    time.sleep(options.settle)  # flushed, and what was put off is done
    window(system, options)


def window(system, options, leader=None):
    """To the leader, who has to be told while a node is frozen."""
    arguments = ["--op", "put", "--clients", options.clients, "--keys", 100000,
                 "--seconds", options.seconds, "--seed", time.monotonic_ns() % 1000000 + 1]
    if options.rate > 0:
        arguments += ["--rate", options.rate]
    done = system.load(*arguments, endpoints=[leader or system.leader_first()[0]])
    if not done.stdout:
        raise RuntimeError(f"puts: {done.stderr}")
    return json.loads(done.stdout)


def tell(phase, result):
    say(f"  {phase or 'between'}: {result['per_second']:,.0f} puts/s, p50 {result['p50_ms']:.2f} ms, "
        f"p99 {result['p99_ms']:.2f} ms, {result['errors']} failed")


def measured(system, options, phase, count=1):
    results = []
    for _ in range(count):
        results.append(window(system, options))
        tell(phase, results[-1])
    return results


def page(system, number, path):
    """Of the admin port of node @number, None when it does not answer."""
    port = system.port_base + 10 * (number - 1) + 2
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=2) as answer:
            return answer.read().decode()
    except (OSError, ValueError):
        return None


def pin(pid, processors):
    """All threads that there are, and so those that they start."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), processors)


def processors_of(system, number):
    return os.sched_getaffinity(system.pid_of(number))


def give_processors(system, options, number):
    """The last one to node @number, the others to the other nodes and to the load program."""
    *others, last = sorted(os.sched_getaffinity(system.pid_of(number)))
    if options.share or not others:
        return
    for i in range(1, NODES + 1):
        pin(system.pid_of(i), {last} if i == number else set(others))
    pin(os.getpid(), set(others))


def load_of(options):
    rate = f"{options.rate:,.0f} puts a second" if options.rate > 0 else "puts in a closed loop"
    return f"{rate} from {options.clients} clients, windows of {options.seconds:g} s"


def table(results, phases):
    """Of @phases (name to text), compared with the first of them."""
    base = statistics.median(one["p99_ms"] for one in results[next(iter(phases))])
    lines = [
        "| puts | windows | puts/s | p50 ms | p99 ms, median | p99 ms, worst window | p99 ÷ before "
        "| failed |",
        "|---|--:|--:|--:|--:|--:|--:|--:|"]
    for phase, text in phases.items():
        rows = results[phase]
        if not rows:
            lines.append(f"| {text} | 0 | – | – | – | – | – | – |")
            continue
        p99 = [one["p99_ms"] for one in rows]
        lines.append(
            f"| {text} | {len(rows)} | {statistics.median(one['per_second'] for one in rows):,.0f} "
            f"| {statistics.median(one['p50_ms'] for one in rows):.2f} "
            f"| {statistics.median(p99):.2f} | {max(p99):.2f} | {statistics.median(p99) / base:.2f} "
            f"| {sum(one['errors'] for one in rows)} |")
    return lines


def publish(options, text, results, marks):
    print(text)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    if options.write:
        report.write_between(ROOT / "docs" / "benchmarks.md", *marks, text)
