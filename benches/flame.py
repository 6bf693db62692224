#!/usr/bin/env python3
"""Draws a flame graph of a server under a load: where its CPU time goes, thread by thread.

    benches/flame.py PID OUT.svg COMMAND…      profiles the process while the command runs
    benches/flame.py 4711 lpush.svg benches/redis/compare.py warren=127.0.0.1:6380:4711 --tests lpush --pipelines 16

Any row of the comparisons is such a command. It needs perf, and a server built with names and frame pointers:

    RUSTFLAGS=-Cforce-frame-pointers=yes cargo build --profile profiling

Beside the picture it prints each thread's share. Width is time; the lowest row is the threads.
"""

import argparse
import re
import signal
import subprocess
import tempfile
from html import escape

WIDTH, ROW = 1600, 16
# Narrower boxes are left out.
WIDTH_MIN = 0.4


def record(pid, hertz, command, data):
    perf = ["perf", "record", "--quiet", "-F", str(hertz), "-g", "-p", str(pid), "-o", data]
    with subprocess.Popen(perf) as profiler:
        try:
            subprocess.run(command, check=True)
        finally:
            profiler.send_signal(signal.SIGINT)


def stacks(data):
    """The stack of each sample, the thread's name first."""
    script = ["perf", "script", "-i", data, "-F", "comm,ip,sym", "--no-inline"]
    text = subprocess.run(script, check=True, capture_output=True, text=True).stdout
    for sample in text.split("\n\n"):
        thread, *frames = sample.strip("\n").splitlines() or [""]
        if thread:
            names = [frame.split(None, 1)[1] for frame in frames if len(frame.split(None, 1)) == 2]
            yield [thread.strip(), *reversed(names)]


def tree(samples):
    root = {"count": 0, "below": {}}
    for names in samples:
        node = root
        node["count"] += 1
        for name in names:
            # One function is one box: neither perf's offset nor Rust's hash tells it apart.
            name = re.sub(r"\+0x[0-9a-f]+$|::h[0-9a-f]{16}$", "", name)
            node = node["below"].setdefault(name, {"count": 0, "below": {}})
            node["count"] += 1
    return root


def boxes(node, x, depth, scale):
    """Name, place, width and share of each frame."""
    for name, below in sorted(node["below"].items()):
        width = below["count"] * scale
        if width >= WIDTH_MIN:
            yield name, x, depth, width
            yield from boxes(below, x, depth + 1, scale)
        x += width


def draw(root, out):
    found = list(boxes(root, 0.0, 0, WIDTH / root["count"]))
    height = ROW * (max(depth for _, _, depth, _ in found) + 1)
    with open(out, "w") as svg:
        print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="monospace" font-size="11">', file=svg)
        for name, x, depth, width in found:
            y = height - ROW * (depth + 1)
            hue = sum(name.encode()) % 50
            shown = name if len(name) * 7 < width else name[: int(width / 7)]
            print(
                f'<g><title>{escape(name)} {100 * width / WIDTH:.1f} %</title>'
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" fill="hsl({hue},80%,65%)"/>'
                f'<text x="{x + 2:.1f}" y="{y + 12}">{escape(shown)}</text></g>',
                file=svg,
            )
        print("</svg>", file=svg)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hertz", type=int, default=997, help="samples a second of each thread that runs")
    parser.add_argument("pid", type=int)
    parser.add_argument("out")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    with tempfile.NamedTemporaryFile() as data:
        record(options.pid, options.hertz, options.command, data.name)
        root = tree(stacks(data.name))
    threads = sorted(root["below"].items(), key=lambda thread: -thread[1]["count"])
    for name, thread in threads:
        print(f"{100 * thread['count'] / root['count']:5.1f} %  {name}")
    draw(root, options.out)


if __name__ == "__main__":
    main()
