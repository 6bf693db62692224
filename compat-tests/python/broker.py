"""A `warren` of a test's own: durable, on free ports, killed and restarted on the same ones."""

import json
import os
import subprocess
import threading

DOORS = ("amqp", "kafka", "redis", "zmq", "admin", "metrics")


class Broker:
    def __init__(self, directory, *options):
        self.directory, self.options = directory, options
        self.doors = dict.fromkeys(DOORS, "127.0.0.1:0")
        self.process = None
        self.start()

    def start(self):
        command = [os.environ["WARREN_BIN"], "serve", "--print-ready", "--data-dir", str(self.directory / "data")]
        command += self.options
        for door, address in self.doors.items():
            command += [f"--{door}", address]
        log = open(self.directory / "log", "a")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in self.process.stdout:
            log.write(line)
            if line.startswith("{"):
                self.ready = ready = json.loads(line)
                self.doors = {door: ready[door] for door in DOORS}
                # The log comes the same way: what nobody reads would block the broker.
                threading.Thread(target=log.writelines, args=[self.process.stdout], daemon=True).start()
                return
        log.close()
        raise AssertionError(f"warren was not ready: {(self.directory / 'log').read_text()[-4000:]}")

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def restart(self):
        self.kill()
        self.start()

    @property
    def amqp_url(self):
        return f"amqp://guest:guest@{self.doors['amqp']}/"

    @property
    def redis_url(self):
        return f"redis://{self.doors['redis']}/0"

    @property
    def zmq_url(self):
        return self.url("zmq")

    def url(self, door):
        """Where a ZeroMQ socket connects to, also one of the door's further addresses."""
        return f"tcp://{self.ready[door]}"

    @property
    def kafka(self):
        return self.doors["kafka"]

    def sql(self, file):
        """`warren sql run`: its exit status must be 0, and its output is returned."""
        command = [os.environ["WARREN_BIN"], "sql", "run", str(file), "--url", f"http://{self.doors['admin']}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
