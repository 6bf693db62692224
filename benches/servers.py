"""The servers of a comparison, and what a load costs them. They run already, and are given as NAME=HOST:PORT:PID."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

GIVEN = re.compile(r"([\w-]+)=([^:]+):(\d+):(\d+)")


@dataclass(frozen=True)
class Server:
    name: str
    host: str
    port: int
    # Of its first process.
    pid: int

    @classmethod
    def given(cls, argument):
        """The server that an argument names; None when it names none."""
        found = GIVEN.fullmatch(argument)
        return cls(found[1], found[2], int(found[3]), int(found[4])) if found else None

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def cpu_us(self):
        """CPU time by now, in the kernel too: of all threads of the process and of all that descend from it."""
        parents, ticks = {}, {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
            ticks[int(entry.name)] = int(fields[11]) + int(fields[12])
        total = 0
        for pid, own in ticks.items():
            at = pid
            while at not in (0, self.pid):
                at = parents.get(at, 0)
            total += own if at == self.pid else 0
        return total * 1_000_000 // os.sysconf("SC_CLK_TCK")

    def forget_peak(self):
        """Makes the kernel forget the most memory that the process had."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_mib(self):
        """The most memory that the process had since then."""
        return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())[1]) / 1024
