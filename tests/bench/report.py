# SPDX-License-Identifier: Apache-2.0
"""Numbers to Markdown."""

import os
import pathlib
import platform
import statistics
import time

OP_NAMES = {"put": "put", "get": "get, linearizable", "sget": "get, serializable",
            "mix": "90 % get, linearizable, 10 % put"}

METHOD = """\
## How it is measured

`tests/bench/run` starts a three-node etcd and a three-node Strongroom and fills both. Then they
take turns, row by row, several times over; the processes of the one that it is not the turn of are
frozen (SIGSTOP). A number is the median of the passes, a ratio the median of the ratios of each
pass (for calls per second with the least and the greatest). All nodes and the load program share
this machine, so that the processor is the limit at many clients, and CPU time per call says more
than calls per second.

- Both listen with TLS and require client certificates, use TLS between their nodes, and keep their
  data in the same file system. Strongroom also encrypts everything that it stores.
- etcd runs with its defaults, but for a quota of 8 GiB.
- The load program is the same for both (`tests/bench/load.c`): N calls under way at any time,
  spread over min(N, 16) connections, these over the three nodes, the first to the leader. It
  checks the status of every call. Keys are chosen at random from all keys; values are random
  bytes.
- Each row is preceded by a second of the same load that does not count. Processor time is that of
  the three servers together, bytes written are what the disk says, journal and all; both from the
  beginning of the row to two seconds after its end, so that work put off is counted. Nothing
  else should be running.
- Memory is anonymous memory (RssAnon): the page cache is not in it, for either.
- Restart: a follower is killed with SIGKILL and started again; the time until a linearizable read
  through it succeeds, measured to about 0.03 s.
- A ratio is Strongroom's number divided by etcd's.
"""


def machine(directory):
    model = "unknown processor"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    memory_kib = int(pathlib.Path("/proc/meminfo").read_text().split()[1])
    return (f"{os.cpu_count()} × {model}, {memory_kib / 1024 / 1024:.0f} GiB, "
            f"Linux {platform.release()}; a write of 4 KiB with fdatasync takes "
            f"{sync_ms(directory):.2f} ms at the median; load average before the run "
            f"{os.getloadavg()[0]:.1f}")


def processor_times():
    """Jiffies so far: all, and those that the hypervisor gave to others."""
    fields = [int(field) for field in
              pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(fields), fields[7]


def stolen_percent(before, after):
    return (after[1] - before[1]) / max(after[0] - before[0], 1) * 100


def sync_ms(directory, rounds=200):
    path = pathlib.Path(directory) / "sync-probe"
    times = []
    with open(path, "wb", buffering=0) as probe:
        probe.write(bytes(4096 * rounds))
        os.fsync(probe.fileno())
        probe.seek(0)
        for _ in range(rounds):
            started = time.perf_counter()
            probe.write(os.urandom(4096))
            os.fdatasync(probe.fileno())
            times.append(time.perf_counter() - started)
    path.unlink()
    return sorted(times)[rounds // 2] * 1000


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def pair(theirs, ours):
    ratio = f"{ours / theirs:.2f}" if theirs > 0 else "–"
    return f"{number(theirs)} → {number(ours)} | {ratio}"


def row_pair(theirs, ours, field):
    """Medians, and the median ratio of a pass: each compares what ran right after one another."""
    ratios = [our[field] / their[field]
              for their, our in zip(theirs["passes"], ours["passes"]) if their[field] > 0]
    ratio = f"{statistics.median(ratios):.2f}" if ratios else "–"
    if ratios and field == "per_second":
        ratio += f" ({min(ratios):.1f}–{max(ratios):.1f})"
    return f"{number(theirs[field])} → {number(ours[field])} | {ratio}"


def rows_table(etcd, strongroom):
    lines = ["| operation | clients | calls/s, etcd → Strongroom | ratio | p50 ms | ratio "
             "| p99 ms | ratio | CPU s per 1,000 calls | ratio | bytes written per call | ratio |",
             "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for theirs, ours in zip(etcd["rows"], strongroom["rows"]):
        cells = [row_pair(theirs, ours, field)
                 for field in ("per_second", "p50_ms", "p99_ms", "cpu_s_per_1000")]
        is_write = theirs["op"] in ("put", "mix")
        cells.append(row_pair(theirs, ours, "bytes_per_call") if is_write else "– | –")
        lines.append(f"| {OP_NAMES[theirs['op']]} | {theirs['clients']} | " + " | ".join(cells)
                     + " |")
    return "\n".join(lines)


def totals_table(etcd, strongroom):
    names = [("fill_per_second", "writing all keys, calls/s (256 clients)"),
             ("fill_anon_mib", "memory of the largest node after that, MiB"),
             ("end_anon_mib", "memory of the largest node after all rows, MiB"),
             ("restart_s", "restart of a node with all keys, s")]
    lines = ["| | etcd → Strongroom | ratio |", "|---|--:|--:|"]
    lines += [f"| {text} | {pair(etcd[field], strongroom[field])} |" for field, text in names]
    errors = [sum(row["errors"] for row in system["rows"]) for system in (etcd, strongroom)]
    lines.append(f"| calls that failed | {errors[0]} → {errors[1]} | – |")
    return "\n".join(lines)


def markdown(options, about, etcd, strongroom):
    return "\n".join([
        "# Benchmarks", "",
        f"{etcd['version']} and {strongroom['version']}, {time.strftime('%Y-%m-%d')}, "
        f"{options.keys:,} keys of 24 bytes with values of {options.value_bytes} bytes, "
        f"{options.passes} passes of {options.seconds:g} s a row. {about}.", "",
        "Written by `tests/bench/run --write`; run it again on your own machine.", "",
        totals_table(etcd, strongroom), "", rows_table(etcd, strongroom), "", METHOD])


BY_HAND = "\n## What bounds it\n"


def write(path, text):
    """Replace what is measured; what was written by hand behind it stays."""
    old = path.read_text() if path.exists() else ""
    _, heading, rest = old.partition(BY_HAND)
    path.write_text(text + heading + rest)


def write_between(path, begin, end, text):
    """Between two marks, which are there."""
    before, _, rest = path.read_text().partition(begin)
    _, mark, after = rest.partition(end)
    if not mark:
        raise RuntimeError(f"{path} has no place for it: {begin} {end}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")
