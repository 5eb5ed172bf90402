"""A worker behind a socket as other systems have it, with a clock at every station.

This is the model that fuseline's workers are compared with, not a part of fuseline: batch after batch is
serialized (rows as pickles, or an Arrow stream), sent to another Python over a socket, deserialized, converted
to what the function takes, computed, and comes back the same way.

    python -P -m fuseline_bench.remote FD
"""

import io
import pickle
import queue
import socket
import struct
import subprocess
import sys
import time

STATIONS = ["serialize", "send", "receive", "deserialize", "convert", "call"]


class Clock:
    """Adds up what each station takes."""

    def __init__(self):
        self.seconds = dict.fromkeys(STATIONS, 0.0)
        self._last = time.perf_counter()

    def at(self, station):
        """Books the time since the last call on a station, or on none."""
        now = time.perf_counter()
        if station is not None:
            self.seconds[station] += now - self._last
        self._last = now


def write(connection, data):
    connection.sendall(struct.pack("<Q", len(data)))
    connection.sendall(data)


def read(connection):
    """A message; None at the end."""
    head = connection.recv(8, socket.MSG_WAITALL)
    if len(head) < 8:
        return None
    (size,) = struct.unpack("<Q", head)
    data = bytearray(size)
    view, done = memoryview(data), 0
    while done < size:
        done += connection.recv_into(view[done:])
    return data


def pack(codec, values):
    """A column as bytes: pickled rows, or an Arrow stream."""
    if codec == "pickle":
        return pickle.dumps(values, pickle.HIGHEST_PROTOCOL)
    import pyarrow as pa

    sink = io.BytesIO()
    batch = pa.record_batch([values], names=["x"])
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getbuffer()


def unpack(codec, data):
    if codec == "pickle":
        return pickle.loads(data)
    import pyarrow as pa

    with pa.ipc.open_stream(pa.py_buffer(data)) as stream:
        return stream.read_next_batch().column(0)


class Worker:
    """The process behind the socket; `stations` adds up the seconds of all its batches."""

    def __init__(self, function, codec):
        import cloudpickle

        here, there = socket.socketpair()
        command = [sys.executable, "-P", "-m", "fuseline_bench.remote", str(there.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[there.fileno()])
        there.close()
        self._socket, self._codec = here, codec
        write(here, pickle.dumps(codec))
        write(here, cloudpickle.dumps(function))
        self.stations = dict.fromkeys(STATIONS, 0.0)

    def call(self, array):
        """What the function makes of an Arrow array of doubles."""
        import pyarrow as pa

        clock = Clock()
        if self._codec == "pickle":
            # A row is a tuple of its columns.
            values = [(x,) for x in array.to_pylist()]
            clock.at("convert")
        else:
            values = array
        data = pack(self._codec, values)
        clock.at("serialize")
        write(self._socket, data)
        clock.at("send")
        theirs = read(self._socket)
        result = read(self._socket)
        if theirs is None or result is None:
            raise RuntimeError("the worker has ended")
        theirs = pickle.loads(theirs)
        clock.at("receive")
        result = unpack(self._codec, result)
        clock.at("deserialize")
        if self._codec == "pickle":
            result = pa.array(result, pa.float64())
            clock.at("convert")
        # While it waited for the answer the worker was at its own stations.
        clock.seconds["receive"] = max(0.0, clock.seconds["receive"] - sum(theirs.values()))
        for station in STATIONS:
            self.stations[station] += clock.seconds[station] + theirs.get(station, 0.0)
        return result

    def close(self):
        self._socket.close()
        self._process.wait()


class Workers:
    """As many workers as there are threads that call; they are there before the first call."""

    def __init__(self, function, codec, count):
        import pyarrow as pa

        self._all = [Worker(function, codec) for _ in range(count)]
        self._free = queue.SimpleQueue()
        for worker in self._all:
            # Starting up and importing is no part of a batch.
            worker.call(pa.array([0.5]))
            self._free.put(worker)
        self.stations()

    def __call__(self, array):
        worker = self._free.get()
        try:
            return worker.call(array)
        finally:
            self._free.put(worker)

    def stations(self):
        """Seconds by station of all batches since the last time."""
        total = {s: sum(w.stations[s] for w in self._all) for s in STATIONS}
        for worker in self._all:
            worker.stations = dict.fromkeys(STATIONS, 0.0)
        return total

    def close(self):
        for worker in self._all:
            worker.close()


def serve(fd):
    """The worker's life."""
    connection = socket.socket(fileno=fd)
    codec = pickle.loads(read(connection))
    function = pickle.loads(read(connection))
    if codec == "arrow":
        import pyarrow as pa
    while (data := read(connection)) is not None:
        clock = Clock()
        values = unpack(codec, data)
        clock.at("deserialize")
        if codec == "pickle":
            result = [function(*row) for row in values]
            clock.at("call")
        else:
            values = values.to_numpy()
            clock.at("convert")
            result = function(values)
            clock.at("call")
            result = pa.array(result)
            clock.at("convert")
        data = pack(codec, result)
        clock.at("serialize")
        write(connection, pickle.dumps(clock.seconds))
        write(connection, data)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
