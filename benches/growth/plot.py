"""Draws what `cargo bench --bench growth` printed: one SVG for each axis, of the standard library alone.

    python3 benches/growth/plot.py growth.tsv benches/growth

Both scales are logarithmic: a flat line costs the same however many there are, a straight one grows by a power.
"""

import csv
import math
import pathlib
import sys

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640, 300, 70, 40, 50
SERIES = [("cpu_us_per_message", "server CPU, µs a message", "#b3261e"), ("messages_per_s", "messages a second", "#1a5fb4")]


def scale(values, low, high):
    """A function from a value to its place between two pixels, by whole decades."""
    first = math.floor(math.log10(min(values)))
    last = max(math.ceil(math.log10(max(values))), first + 1)
    decades = [10.0**n for n in range(first, last + 1)]
    return decades, lambda value: low + (math.log10(value) - first) / (last - first) * (high - low)


def human(value):
    """1000 as 1k, 1e6 as 1M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{unit}"
    return f"{value:g}"


def panel(rows, column, title, colour, left):
    """One column of figures over the points, as SVG elements."""
    points = [float(row["point"]) for row in rows]
    values = [max(float(row[column]), 1e-3) for row in rows]
    right, bottom = left + WIDTH / 2 - LEFT, HEIGHT - BOTTOM
    across, x = scale(points, left, right)
    up, y = scale(values, bottom, TOP)
    parts = [f'<text x="{left}" y="{TOP - 14}">{title}</text>']
    for decade in across:
        parts.append(f'<line x1="{x(decade):.1f}" x2="{x(decade):.1f}" y1="{TOP}" y2="{bottom}" class="grid"/>')
        parts.append(f'<text x="{x(decade):.1f}" y="{bottom + 16}" text-anchor="middle">{human(decade)}</text>')
    for decade in up:
        parts.append(f'<line x1="{left}" x2="{right}" y1="{y(decade):.1f}" y2="{y(decade):.1f}" class="grid"/>')
        parts.append(f'<text x="{left - 6}" y="{y(decade) + 4:.1f}" text-anchor="end">{human(decade)}</text>')
    places = [(x(point), y(value)) for point, value in zip(points, values)]
    line = " ".join(f"{px:.1f},{py:.1f}" for px, py in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    parts += [f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="{colour}"/>' for px, py in places]
    return parts


def plot(axis, rows):
    """The whole picture of one axis."""
    style = "text{font:12px sans-serif;fill:#333}.grid{stroke:#ddd}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}">',
        f'<style>{style}</style><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for at, (column, title, colour) in enumerate(SERIES):
        parts += panel(rows, column, title, colour, LEFT + at * WIDTH / 2)
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{axis}</text></svg>')
    return "\n".join(parts) + "\n"


def main(source, target):
    axes = {}
    with open(source, encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            axes.setdefault(row["axis"], []).append(row)
    for axis, rows in axes.items():
        pathlib.Path(target, f"{axis}.svg").write_text(plot(axis, rows), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
