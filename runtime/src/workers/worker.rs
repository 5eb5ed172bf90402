//! One worker: loads functions into its process and has them called.
//!
//! A worker serves one caller at a time. Whatever it may not survive (an exit, a signal, a timeout,
//! garbage instead of an answer) ends it here too: [`Worker::usable`] is false from then on.

use super::error::{Exception, FailedRow, WorkerError};
use super::frame::{self, Frame, FrameError, Patience};
use super::ipc;
use super::layout::{Reader, Writer, plain, tree};
use super::process::{End, Interpreter, Process};
use super::region::{Region, Shelf};
use super::{Output, ROWS, Transport, WorkerFunction};
use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::error::ArrowError;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How often a wait looks for cancellation.
const TICK: Duration = Duration::from_millis(50);
/// How often it looks at the worker's memory, if that is limited. What a worker can fill meanwhile is
/// how far it can get beyond the limit: some 50 MiB.
const MEMORY_TICK: Duration = Duration::from_millis(10);
/// Starting an interpreter or importing what a function needs may take so long.
const LOADING: Duration = Duration::from_secs(120);
/// How long a hung worker may take to write where it is.
const TRACE: Duration = Duration::from_millis(100);
/// Results up to here are copied out: shorter than the way through another region.
const SMALL: usize = 32 << 10;

/// A worker process with what this side knows about it.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    /// The functions that the process has, with a sign of whether anybody may still call them.
    loaded: HashMap<u64, Weak<()>>,
    arguments: Option<Region>,
    shelf: Arc<Shelf>,
    /// What the last result needed: a guess at the next.
    result_bytes: usize,
    usable: bool,
}

/// Why a wait was given up.
#[derive(Clone, Copy)]
enum Reason {
    Cancelled,
    TimedOut(Duration),
    Memory { used: usize, limit: usize },
}

impl Worker {
    /// Starts a process and waits until it listens.
    pub fn start(interpreter: &Interpreter, cancelled: &dyn Fn() -> bool) -> Result<Worker, WorkerError> {
        let executable = interpreter.executable.display();
        let not_started = |e: io::Error| WorkerError::NotStarted { message: format!("{executable}: {e}") };
        let process = Process::start(interpreter).map_err(not_started)?;
        let mut worker = Worker {
            process,
            loaded: HashMap::new(),
            arguments: None,
            shelf: Arc::default(),
            result_bytes: 0,
            usable: true,
        };
        let hello = json!({ "op": "hello", "rows": ROWS });
        let faults = worker.process.faults.try_clone().map_err(not_started)?;
        let task = Task { rows: 0, timeout: LOADING, memory_limit: None, cancelled };
        match worker.ask(&task, &hello, &[], &[faults.as_fd()]) {
            Ok(_) => Ok(worker),
            Err(WorkerError::Exited { code, .. }) => Err(WorkerError::NotStarted {
                message: format!("{executable} exited with code {code} at once; what it printed says why"),
            }),
            Err(error) => Err(error),
        }
    }

    /// Whether it can be asked again.
    pub fn usable(&mut self) -> bool {
        self.usable && self.process.alive()
    }

    /// Whether it has the function already.
    pub fn has(&self, function: &WorkerFunction) -> bool {
        self.loaded.contains_key(&function.id)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// Calls a function on one batch.
    pub fn call(
        &mut self,
        function: &WorkerFunction,
        columns: &[ArrayRef],
        rows: usize,
        keeps_failures: bool,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Output, WorkerError> {
        if !self.has(function) {
            self.load(function, cancelled)?;
        }
        let task = Task {
            rows,
            timeout: function.timeout.unwrap_or(Duration::MAX),
            memory_limit: function.memory_limit,
            cancelled,
        };
        let request = json!({
            "op": "call",
            "f": function.id,
            "rows": rows,
            "given": columns.len(),
            "collect": keeps_failures,
            "forget": self.forget(),
        });
        let (answer, column) = match function.transport {
            Transport::SharedMemory => self.by_memory(&task, function, request, columns)?,
            Transport::Socket => {
                let body = ipc::encode(columns, rows).map_err(|e| cannot_send(&e))?;
                let answer = self.ask(&task, &request, &body, &[])?;
                let column = ipc::decode(answer.body).map_err(|e| self.broken(&e.to_string()))?;
                (answer.header, column)
            }
        };
        let column = if column.data_type() == &function.returns {
            column
        } else {
            cast(&column, &function.returns).map_err(|e| self.broken(&e.to_string()))?
        };
        let seconds = |key: &str| Duration::from_nanos(answer["ns"][key].as_u64().unwrap_or(0));
        Ok(Output {
            column,
            failures: answer["failures"]
                .as_array()
                .map_or_else(Vec::new, |all| all.iter().filter_map(|f| failed_row(f, Vec::new())).collect()),
            in_function: seconds("function"),
            in_conversion: seconds("conversion"),
        })
    }

    /// The functions that were dropped since the last call.
    fn forget(&mut self) -> Vec<u64> {
        let mut gone = Vec::new();
        self.loaded.retain(|id, alive| {
            let keep = alive.strong_count() > 0;
            if !keep {
                gone.push(*id);
            }
            keep
        });
        gone
    }

    fn load(&mut self, function: &WorkerFunction, cancelled: &dyn Fn() -> bool) -> Result<(), WorkerError> {
        let timeout = function.timeout.map_or(LOADING, |t| t.max(LOADING));
        let task = Task { rows: 0, timeout, memory_limit: function.memory_limit, cancelled };
        let params = function
            .params
            .iter()
            .map(|(_, data_type)| tree(&plain(data_type)))
            .collect::<Result<Vec<Value>, ArrowError>>()
            .map_err(|e| cannot_send(&e))?;
        let returns = tree(&plain(&function.returns)).map_err(|e| cannot_send(&e))?;
        let schema = ipc::schema(&function.params, &function.returns).map_err(|e| cannot_send(&e))?;
        let request = json!({
            "op": "load",
            "f": function.id,
            "kind": function.kind,
            "params": params,
            "returns": returns,
            "returns_text": function.returns.to_string(),
            "transport": match function.transport {
                Transport::SharedMemory => "memory",
                Transport::Socket => "socket",
            },
            "path": function.search_path,
            "pickled": function.pickled.len(),
        });
        let body = [function.pickled.as_slice(), &schema].concat();
        match self.ask(&task, &request, &body, &[]) {
            Ok(_) => {
                self.loaded.insert(function.id, Arc::downgrade(&function.alive));
                Ok(())
            }
            Err(WorkerError::Raised(exception)) => Err(WorkerError::Trouble {
                what: "it cannot be loaded in a worker process: ".to_owned(),
                exception,
            }),
            Err(error) => Err(error),
        }
    }

    /// Arguments through one region, results through another.
    fn by_memory(
        &mut self,
        task: &Task<'_>,
        function: &WorkerFunction,
        mut request: Value,
        columns: &[ArrayRef],
    ) -> Result<(Value, ArrayRef), WorkerError> {
        let no_region = |e: io::Error| WorkerError::Broken { message: format!("no shared memory: {e}") };
        let mut writer = Writer::default();
        for column in columns {
            writer.add(column).map_err(|e| cannot_send(&e))?;
        }
        let mut files: Vec<(u64, usize, File)> = Vec::new();
        let mut arguments = match self.arguments.take() {
            Some(region) if region.mapping.len() >= writer.len() => region,
            other => {
                if let Some(small) = other {
                    self.shelf.forget(small.id);
                }
                let (region, file) = Region::new(writer.len()).map_err(no_region)?;
                files.push((region.id, region.mapping.len(), file));
                region
            }
        };
        let used = writer.len();
        let described = writer.finish(&mut arguments.mapping);
        let (mut result, file) = self.shelf.take(self.result_bytes).map_err(no_region)?;
        if let Some(file) = file {
            files.push((result.id, result.mapping.len(), file));
        }
        request["args"] = described;
        request["in"] = json!([arguments.id, used]);
        request["out"] = json!(result.id);
        request["new"] = files.iter().map(|(id, len, _)| json!([id, len])).collect();
        request["drop"] = json!(self.shelf.take_gone());
        let fds: Vec<BorrowedFd<'_>> = files.iter().map(|(_, _, file)| file.as_fd()).collect();
        let answer = match self.ask(task, &request, &[], &fds) {
            Ok(answer) => answer.header,
            Err(error) => {
                // After an exception the worker goes on, and the regions with it. The frames of the
                // traceback may still refer to the arguments, so these are not written again.
                self.shelf.forget(arguments.id);
                self.shelf.put(result);
                return Err(error);
            }
        };
        if answer["kept"].as_bool().unwrap_or(false) {
            self.shelf.forget(arguments.id);
        } else {
            self.arguments = Some(arguments);
        }
        let number = |key: &str| answer[key].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let (size, written) = (number("size"), number("written"));
        if size > result.mapping.len() {
            result.mapping.grow(size).map_err(no_region)?;
        }
        self.result_bytes = written;
        let buffer = if written <= SMALL || !self.shelf.may_hold() {
            // The buffer over the region is gone when this statement ends, and the region is back.
            #[allow(clippy::let_and_return)] // As a tail expression it would say nothing about when.
            let copy = Buffer::from_slice_ref(self.shelf.hold(result, written).as_slice());
            copy
        } else {
            self.shelf.hold(result, written)
        };
        let column = Reader::new(&answer["result"], &buffer)
            .read(&plain(&function.returns))
            .map_err(|e| self.broken(&e.to_string()))?;
        Ok((answer, column))
    }

    /// Sends a request and waits for its answer.
    fn ask(
        &mut self,
        task: &Task<'_>,
        request: &Value,
        body: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Result<Frame, WorkerError> {
        let started = Instant::now();
        let mut reason = Reason::Cancelled;
        let process = &self.process;
        let mut keep_waiting = || {
            let stop = if (task.cancelled)() {
                Some(Reason::Cancelled)
            } else if started.elapsed() >= task.timeout {
                Some(Reason::TimedOut(task.timeout))
            } else {
                task.memory_limit.and_then(|limit| {
                    let used = process.memory().filter(|used| *used > limit)?;
                    Some(Reason::Memory { used, limit })
                })
            };
            reason = stop.unwrap_or(reason);
            stop.is_none()
        };
        let tick = if task.memory_limit.is_some() { MEMORY_TICK } else { TICK };
        // So that a short timeout is kept, too.
        let tick = tick.min(task.timeout.max(Duration::from_millis(1)));
        let mut patience = Patience { tick, keep_waiting: &mut keep_waiting };
        let answer = frame::send(&self.process.socket, request, body, fds, &mut patience)
            .and_then(|()| frame::receive(&self.process.socket, &mut patience));
        match answer {
            Ok(frame) => self.judge(frame),
            Err(FrameError::Closed) => Err(self.ended()),
            Err(FrameError::Stopped) => Err(self.stop(task, reason)),
            Err(FrameError::Io(error)) => Err(self.broken(&error.to_string())),
            Err(FrameError::Garbage(what)) => Err(self.broken(&what)),
        }
    }

    /// Tells answers from complaints.
    fn judge(&mut self, frame: Frame) -> Result<Frame, WorkerError> {
        let said = &frame.header;
        match said["answer"].as_str() {
            Some("ok") => Ok(frame),
            Some("raised") => Err(match failed_row(said, Vec::new()) {
                Some(mut failed) => {
                    failed.exception.pickled = frame.body;
                    WorkerError::FailedRow(Box::new(failed))
                }
                None => WorkerError::Raised(Box::new(exception(said, frame.body))),
            }),
            Some("trouble") => {
                let what = said["what"].as_str().filter(|w| !w.is_empty());
                let what = what.map_or_else(String::new, |w| format!("{w}: "));
                let exception = Box::new(exception(said, frame.body));
                Err(WorkerError::Trouble { what, exception })
            }
            Some("bad result") => {
                let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
                if let Some(got) = said["length"].as_u64() {
                    let got = usize::try_from(got).unwrap_or(usize::MAX);
                    return Err(WorkerError::WrongLength { got });
                }
                let message = text("message");
                if !message.is_empty() {
                    return Err(WorkerError::WrongResult(message));
                }
                // A type of Arrow is named as it is everywhere here, not as pyarrow does.
                let got = ipc::type_of(&frame.body).map_or_else(|| text("got"), |t| t.to_string());
                Err(WorkerError::WrongType { got })
            }
            Some(_) | None => Err(self.broken("its answer is none")),
        }
    }

    /// The socket was closed: why?
    fn ended(&mut self) -> WorkerError {
        self.usable = false;
        match self.process.wait(Duration::from_secs(2)).map(End::from) {
            Some(End::Code(code)) => WorkerError::Exited { code, trace: self.process.trace() },
            Some(End::Signal(signal)) => WorkerError::Killed { signal, trace: self.process.trace() },
            None => {
                self.process.kill(Duration::ZERO);
                WorkerError::Broken { message: "it closed its control socket; it was killed".to_owned() }
            }
        }
    }

    fn stop(&mut self, task: &Task<'_>, reason: Reason) -> WorkerError {
        self.usable = false;
        match reason {
            Reason::Cancelled => {
                self.process.kill(Duration::ZERO);
                WorkerError::Cancelled
            }
            Reason::TimedOut(timeout) => {
                let trace = self.process.kill(TRACE);
                WorkerError::TimedOut { timeout, rows: task.rows, trace }
            }
            Reason::Memory { used, limit } => {
                let trace = self.process.kill(MEMORY_TICK);
                WorkerError::MemoryLimit { used, limit, trace }
            }
        }
    }

    /// Ends a worker that cannot be trusted any more.
    fn broken(&mut self, message: &str) -> WorkerError {
        self.usable = false;
        self.process.kill(Duration::ZERO);
        WorkerError::Broken { message: message.to_owned() }
    }
}

/// Within which limits a worker has to answer.
struct Task<'a> {
    /// Of the batch; for messages.
    rows: usize,
    timeout: Duration,
    memory_limit: Option<usize>,
    cancelled: &'a dyn Fn() -> bool,
}

fn cannot_send(error: &ArrowError) -> WorkerError {
    WorkerError::Broken { message: error.to_string() }
}

fn exception(said: &Value, pickled: Vec<u8>) -> Exception {
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    Exception {
        message: text("message"),
        trace: text("trace"),
        ordinary: said["ordinary"].as_bool().unwrap_or(true),
        pickled,
    }
}

/// None where what was said is about no row.
fn failed_row(said: &Value, pickled: Vec<u8>) -> Option<FailedRow> {
    let row = usize::try_from(said["row"].as_u64()?).ok()?;
    let misfit = said["misfit"].as_bool().unwrap_or(false);
    Some(FailedRow { row, misfit, exception: exception(said, pickled) })
}
