# SPDX-License-Identifier: Apache-2.0
"""Load through stock etcd clients that do what etcd's own do: try the next endpoint when one says
UNAVAILABLE, and nothing else."""

import threading
import time

import etcd3

# A call that is not through after this long, over all endpoints, has failed.
CALL_TIMEOUT_S = 10


def connect(node):
    pki = node.cluster.pki
    return etcd3.client(host=node.address, port=node.client_port, ca_cert=pki.path("ca.crt"),
                        cert_cert=pki.path("app.crt"), cert_key=pki.path("app.key"),
                        timeout=CALL_TIMEOUT_S,
                        grpc_options=[("grpc.use_local_subchannel_pool", 1),
                                      ("grpc.initial_reconnect_backoff_ms", 50),
                                      ("grpc.max_reconnect_backoff_ms", 200)])


class RetryingClient:
    """python3-etcd3 with several endpoints."""

    def __init__(self, nodes):
        self.clients = [connect(node) for node in nodes]
        self.current = 0
        self.retries = 0

    def call(self, function):
        """function(client), at whichever endpoint takes it."""
        deadline = time.monotonic() + CALL_TIMEOUT_S
        while True:
            try:
                return function(self.clients[self.current])
            except etcd3.exceptions.ConnectionFailedError:  # UNAVAILABLE
                if time.monotonic() > deadline:
                    raise
                self.retries += 1
                self.current = (self.current + 1) % len(self.clients)
                if self.retries % len(self.clients) == 0:
                    time.sleep(0.025)  # as clientv3 does after a round

    def close(self):
        for client in self.clients:
            client.close()


class Load:
    """Writers and readers that go on until the end; every failure is kept."""

    def __init__(self, nodes, writers=4, readers=2):
        self.nodes = nodes
        self.stopping = threading.Event()
        self.failures = []
        self.written = []  # when each write was acknowledged
        self.reads = 0
        self.retries = 0
        self.last = {}  # by key: the last value acknowledged
        self.threads = [threading.Thread(target=self._run, args=(i, i < writers))
                        for i in range(writers + readers)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _run(self, number, writes):
        client = RetryingClient(self.nodes)
        client.current = number % len(self.nodes)
        value = 0
        key = f"load/{number}"
        while not self.stopping.is_set():
            value += 1
            try:
                if writes:
                    client.call(lambda c, v=value: c.put(key, str(v)))
                    self.last[key] = value
                    self.written.append(time.monotonic())
                else:
                    client.call(lambda c: c.get("load/0"))
                    self.reads += 1
            except Exception as error:  # whatever it is, the application would have seen it
                self.failures.append(f"{key}: {error!r}")
        self.retries += client.retries
        client.close()

    def longest_gap(self):
        """Seconds without any write being acknowledged, at most."""
        times = sorted(self.written)
        return max((b - a for a, b in zip(times, times[1:])), default=0)
