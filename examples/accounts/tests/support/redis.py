# SPDX-License-Identifier: Apache-2.0
"""A Redis of one's own, without persistence; stopped by its own pid."""
import shutil
import signal
import socket
import subprocess
import tempfile
import time


def missing():
    """Why there can be none here, or nothing."""
    return "" if shutil.which("redis-server") else "Redis is not installed (apt-get install redis-server)"


class Redis:
    def __init__(self):
        self.directory = tempfile.TemporaryDirectory(prefix="accounts-redis-")
        with socket.socket() as of:
            of.bind(("127.0.0.1", 0))
            self.port = of.getsockname()[1]
        self.start()

    def start(self):
        """Starts it on the same port as before, and waits until it takes connections."""
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
             self.directory.name], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError("Redis does not start") from None
            time.sleep(0.01)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=20)

    def stall(self):
        """It takes connections and says nothing, until `go_on`."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def url(self):
        return f"redis://127.0.0.1:{self.port}/1"

    def keys(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as of:
            of.sendall(b"SELECT 1\r\nKEYS *\r\nQUIT\r\n")
            text = b""
            while piece := of.recv(65536):
                text += piece
        return [line.decode() for line in text.split(b"\r\n") if b":v1:" in line]

    def close(self):
        if self.process.poll() is None:
            self.kill()
        self.directory.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
