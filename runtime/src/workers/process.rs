//! A worker's process: started, watched, killed and waited for.
//!
//! Workers are spawned, never forked: the interpreter starts afresh, so it inherits neither locks nor
//! threads. The control socket is their standard input, which is the one descriptor that can be
//! handed over without a window in which another child of this process inherits it too.
//!
//! One thread starts and reaps all workers of this process. A worker asks the kernel to be killed
//! when its parent ends, and the kernel takes the *thread* that started it for the parent: so this
//! thread never ends.

use super::sys;
use parking_lot::Mutex;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender, SyncSender};
use std::time::{Duration, Instant};

/// How a worker whose socket was closed may take to end by itself.
const FAREWELL: Duration = Duration::from_millis(500);
/// How long the thread that starts workers may take for one.
const START: Duration = Duration::from_secs(30);
/// The longest fault trace that is shown.
const LONGEST_TRACE: usize = 16 << 10;

/// What runs in the workers.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// The Python executable, `sys.executable`.
    pub executable: PathBuf,
    /// `fuseline/_worker.py`.
    pub script: PathBuf,
}

/// A running worker process.
#[derive(Debug)]
pub struct Process {
    /// None once it has been waited for or handed to the reaper.
    child: Option<Child>,
    pub pid: u32,
    /// The process that started it; another one after a fork.
    owner: u32,
    /// The control socket; it does not block.
    pub socket: UnixStream,
    /// Where the worker's faulthandler writes.
    pub faults: File,
}

impl Process {
    /// Starts the interpreter.
    pub fn start(interpreter: &Interpreter) -> io::Result<Process> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let faults = sys::memory_file(c"fuseline-faults")?;
        let mut command = Command::new(&interpreter.executable);
        command
            // Without -P the script's folder, the package itself, would be importable piecemeal.
            .arg("-P")
            .arg(&interpreter.script)
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        let (sender, receiver) = mpsc::sync_channel(1);
        ask_spawner(Job::Start(Box::new(command), sender))?;
        let child = receiver
            .recv_timeout(START)
            .map_err(|_| io::Error::other("the thread that starts workers does not answer"))??;
        let pid = child.id();
        Ok(Process { child: Some(child), pid, owner: std::process::id(), socket: ours, faults })
    }

    /// Whether it still runs.
    pub fn alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Waits for it to end, at most so long; none if it has not.
    pub fn wait(&mut self, time: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + time;
        let child = self.child.as_mut()?;
        loop {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Has the worker write where it is, waits for that a little, and kills it. Gives the trace.
    pub fn kill(&mut self, patience: Duration) -> String {
        let before = self.trace().len();
        sys::signal(self.pid, libc::SIGUSR1);
        let deadline = Instant::now() + patience;
        let mut seen = before;
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
            let now = self.trace().len();
            // Something was written, and then nothing more.
            if now > before && now == seen {
                break;
            }
            seen = now;
        }
        let trace = self.trace();
        sys::signal(self.pid, libc::SIGKILL);
        self.wait(Duration::from_secs(1));
        trace
    }

    /// What the worker's faulthandler has written.
    pub fn trace(&self) -> String {
        let mut bytes = vec![0; LONGEST_TRACE];
        let read = self.faults.read_at(&mut bytes, 0).unwrap_or(0);
        bytes.truncate(read);
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Bytes of memory that only the worker uses: what is resident, less files and shared regions.
    pub fn memory(&self) -> Option<usize> {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", self.pid)).ok()?;
        let mut pages = text.split_ascii_whitespace().skip(1).map(|n| n.parse::<usize>());
        let (resident, shared) = (pages.next()?.ok()?, pages.next()?.ok()?);
        // SAFETY: asks for a number.
        let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        Some(resident.saturating_sub(shared) * page)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(child) = self.child.take() else { return };
        if self.owner != std::process::id() {
            // In a forked child: the worker is the parent's, and so is waiting for it.
            return;
        }
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        // If the thread is gone the process is ending, and its workers with it.
        let _ = ask_spawner(Job::Reap(child));
    }
}

/// How an exit status reads: a code, or the name of a signal.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    Code(i32),
    Signal(String),
}

impl From<ExitStatus> for End {
    fn from(status: ExitStatus) -> End {
        match (status.code(), status.signal()) {
            (Some(code), _) => End::Code(code),
            (None, Some(signal)) => End::Signal(sys::signal_name(signal)),
            (None, None) => End::Signal("an unknown cause".to_owned()),
        }
    }
}

enum Job {
    Start(Box<Command>, SyncSender<io::Result<Child>>),
    /// Wait for it; kill it if it does not end.
    Reap(Child),
}

/// The thread's mailbox, and the process that it belongs to: a fork copies no threads.
static SPAWNER: Mutex<Option<(u32, Sender<Job>)>> = Mutex::new(None);

fn ask_spawner(job: Job) -> io::Result<()> {
    // Forked while another thread held the lock, nobody will ever release it.
    let mut spawner = SPAWNER
        .try_lock_for(START)
        .ok_or_else(|| io::Error::other("the thread that starts workers does not answer"))?;
    let here = std::process::id();
    let mailbox = match &*spawner {
        Some((process, mailbox)) if *process == here => mailbox.clone(),
        Some(_) | None => {
            let (sender, receiver) = mpsc::channel();
            std::thread::Builder::new()
                .name("fuseline-workers".to_owned())
                .spawn(move || run_spawner(&receiver))?;
            *spawner = Some((here, sender.clone()));
            sender
        }
    };
    mailbox.send(job).map_err(|_| io::Error::other("the thread that starts workers has ended"))
}

fn run_spawner(mailbox: &mpsc::Receiver<Job>) {
    let mut leaving: Vec<(Child, Instant)> = Vec::new();
    loop {
        let job = if leaving.is_empty() {
            mailbox.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            mailbox.recv_timeout(Duration::from_millis(10))
        };
        match job {
            Ok(Job::Start(mut command, reply)) => {
                // Nobody waits any more if it took too long; the child then reads end of file.
                let _ = reply.send(command.spawn());
            }
            Ok(Job::Reap(child)) => leaving.push((child, Instant::now() + FAREWELL)),
            Err(RecvTimeoutError::Timeout) => {}
            // Cannot be: the static keeps a sender. Ending here would kill all workers.
            Err(RecvTimeoutError::Disconnected) => std::thread::park(),
        }
        leaving.retain_mut(|(child, deadline)| match child.try_wait() {
            Ok(Some(_)) | Err(_) => false,
            Ok(None) => {
                if Instant::now() >= *deadline {
                    let _ = child.kill();
                }
                true
            }
        });
    }
}
