"""A worker process: runs user-defined functions for the process that started it.

Started as `python -P _worker.py`, with the control socket as standard input. A frame is

    u32 length of the header | u32 length of the body | header (JSON) | body      (little endian)

and this side only ever answers: `hello` once, `load` for each function, `call` for each batch.
Columns lie in memory files whose descriptors come with the frame that first names them (or, for the
socket transport, in the body as an Arrow IPC stream).

Nothing is imported here that the functions do not need: numpy, pandas and pyarrow come with the
first function of that kind. The process ends when the socket does, and is killed by the kernel if
its parent ends while a function runs.
"""

import faulthandler
import gc
import importlib.util
import json
import mmap
import os
import signal
import socket
import struct
import sys
import time
import types

PREFIX = struct.Struct("<II")
MOST_FDS = 8


class Control:
    """The control socket."""

    def __init__(self, descriptor):
        self.socket = socket.socket(fileno=descriptor)

    def receive(self):
        """The next frame: header, body, descriptors; None when the other side has closed."""
        # Descriptors are not to be inherited by what functions start.
        start, fds, _, _ = socket.recv_fds(
            self.socket, PREFIX.size, MOST_FDS, socket.MSG_CMSG_CLOEXEC
        )
        if not start:
            return None
        start += self._exactly(PREFIX.size - len(start))
        header, body = PREFIX.unpack(start)
        header = json.loads(self._exactly(header))
        return header, self._exactly(body), fds

    def _exactly(self, size):
        data = bytearray(size)
        view = memoryview(data)
        while view:
            read = self.socket.recv_into(view)
            if read == 0:
                raise EOFError("the control socket ended within a frame")
            view = view[read:]
        return data

    def send(self, header, body=b""):
        """Answers."""
        text = json.dumps(header).encode()
        self.socket.sendall(PREFIX.pack(len(text), memoryview(body).nbytes) + text)
        if body:
            self.socket.sendall(body)


class Regions:
    """The memory files that both processes have mapped, by their ids."""

    def __init__(self):
        self.read = {}
        self.written = {}

    def add(self, descriptors, request):
        """Maps the files that came with a request."""
        for descriptor, (name, size) in zip(descriptors, request["new"]):
            try:
                if name == request["out"]:
                    self.written[name] = mmap.mmap(descriptor, size)
                else:
                    self.read[name] = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
            finally:
                # The mapping has a descriptor of its own.
                os.close(descriptor)

    def drop(self, names):
        """Forgets regions; one that is still seen by a view lives as long as that."""
        for name in names:
            self.read.pop(name, None)
            self.written.pop(name, None)

    def kept(self, name):
        """Whether a view of the arguments outlived the call; then the region is left to it.

        Views hold their buffer, and the buffer holds the mapping: one reference here, one in the
        dictionary, one as the argument of getrefcount.
        """
        region = self.read[name]
        if sys.getrefcount(region) > 3:
            gc.collect(1)
        if sys.getrefcount(region) <= 3:
            return False
        del self.read[name]
        return True

    def write(self, name, parts, size):
        """Writes `(offset, buffer)`s into a region of `size` bytes at least; gives its length."""
        region = self.written[name]
        if len(region) < size:
            region.resize(1 << (size - 1).bit_length())
        for offset, buffer in parts:
            view = memoryview(buffer).cast("B")
            region[offset : offset + view.nbytes] = view
        return len(region)


class Worker:
    """What one process knows: its functions and regions."""

    def __init__(self, control):
        self.control = control
        self.regions = Regions()
        self.functions = {}
        self.path = list(sys.path)

    def serve(self):
        """Answers until the other side closes the socket."""
        while (frame := self.control.receive()) is not None:
            header, body, fds = frame
            # Nothing may refer to the arguments when the answer says whether something does.
            del frame
            try:
                answer, body = self.answer(header, body, fds)
            except BaseException as error:  # Also SystemExit and KeyboardInterrupt: they travel.
                answer, body = self.complaint(error)
            flush()
            self.control.send(answer, body)

    def answer(self, request, body, fds):
        """The answer to a request."""
        if request["op"] == "call":
            for name in request["forget"]:
                self.functions.pop(name, None)
            if "out" in request:
                return self.call_by_memory(request, fds), b""
            return self.call_by_socket(request, body)
        if request["op"] == "load":
            # At the end those that this interpreter has by itself.
            sys.path[:] = list(dict.fromkeys([*request["path"], *self.path]))
            load = sys.modules["fuseline_kinds"].load
            self.functions[request["f"]] = load(request, body)
            return {"answer": "ok"}, b""
        self.hello(request, fds)
        return {"answer": "ok"}, b""

    def complaint(self, error):
        """The answer that tells of an exception."""
        kinds = sys.modules.get("fuseline_kinds")
        if kinds is not None:
            return kinds.complaint(error)
        return {"answer": "trouble", "message": f"{type(error).__name__}: {error}"}, b""

    def hello(self, request, fds):
        """Sets the process up as its parent wants it."""
        # Stays open for the signal handlers.
        faulthandler.enable(file=fds[0], all_threads=True)
        faulthandler.register(signal.SIGUSR1, file=fds[0], all_threads=True)
        # The parent's file and ours: the same conversions there and here.
        rows = types.ModuleType("fuseline_rows")
        rows.__file__ = "<fuseline>/rows.py"
        exec(compile(request["rows"], rows.__file__, "exec"), rows.__dict__)
        sys.modules[rows.__name__] = rows
        folder = os.path.dirname(os.path.abspath(__file__))
        for name in ("columns", "kinds"):
            path = os.path.join(folder, f"_worker_{name}.py")
            spec = importlib.util.spec_from_file_location(f"fuseline_{name}", path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[spec.name] = module
            spec.loader.exec_module(module)
        sys.modules["fuseline_kinds"].HIDDEN.add(__file__)

    def call_by_memory(self, request, fds):
        """Arguments from one region, the result into another."""
        self.regions.add(fds, request)
        self.regions.drop(request["drop"])
        region, used = request["in"]
        answer = self._call(request, region, used)
        answer["kept"] = self.regions.kept(region)
        return answer

    def _call(self, request, region, used):
        columns = sys.modules["fuseline_columns"]
        function = self.functions[request["f"]]
        clock = Clock()
        memory = memoryview(self.regions.read[region])[:used]
        nodes = iter(request["args"])
        given = function.params[: request["given"]]
        arguments = [columns.read_column(type_, nodes, memory) for type_ in given]
        result, failures = function.call(arguments, request["rows"], request["collect"], clock)
        nodes, parts = [], []
        size = columns.place_column(result, nodes, parts, 0)
        length = self.regions.write(request["out"], parts, size)
        return {
            "answer": "ok",
            "result": nodes,
            "written": size,
            "size": length,
            "failures": failures,
            "ns": clock.read(),
        }

    def call_by_socket(self, request, body):
        """Arguments and result as Arrow IPC streams."""
        import pyarrow

        columns = sys.modules["fuseline_columns"]
        function = self.functions[request["f"]]
        clock = Clock()
        batch = pyarrow.ipc.open_stream(pyarrow.py_buffer(body)).read_next_batch()
        given = function.params[: request["given"]]
        arguments = [columns.from_arrow(t, c) for t, c in zip(given, batch.columns)]
        result, failures = function.call(arguments, request["rows"], request["collect"], clock)
        array = columns.to_arrow(result, function.returns.arrow)
        batch = pyarrow.record_batch([array], names=["returns"])
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        answer = {"answer": "ok", "failures": failures, "ns": clock.read()}
        return answer, sink.getvalue()


class Clock:
    """How long a request takes, and how much of that the function itself."""

    def __init__(self):
        self.started = time.perf_counter_ns()
        self.function = 0

    def read(self):
        """Nanoseconds in the function and around it."""
        total = time.perf_counter_ns() - self.started
        return {"function": self.function, "conversion": total - self.function}


def flush():
    """What the function printed shows before its answer does."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass


def die_with_parent():
    """Has the kernel kill this process when its parent ends, even while a function hangs."""
    try:
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        # Then the end of the socket has to do, which is read between two requests.
        pass


def main():
    """Serves the socket that is standard input."""
    # Ctrl-C reaches all processes of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    control = Control(os.dup(0))
    # Functions that read standard input find nothing.
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    try:
        Worker(control).serve()
    except (EOFError, ConnectionError):
        pass


if __name__ == "__main__":
    main()
