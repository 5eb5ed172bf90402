//! The few system calls that workers need and std does not offer: memory files, mappings, and
//! file descriptors sent over a socket. Everything here is safe to call; each `unsafe` is one call.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::ptr::NonNull;
use std::time::Duration;

/// A file that exists only in memory: no name, gone with its last descriptor and mapping.
pub fn memory_file(name: &std::ffi::CStr) -> io::Result<File> {
    // SAFETY: `name` is a C string that outlives the call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has just opened `fd`, and nobody else knows it.
    Ok(File::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Nobody can make the file shorter any more, so pages that are mapped stay backed.
pub fn seal_against_shrinking(file: &File) -> io::Result<()> {
    // SAFETY: F_ADD_SEALS takes an int and touches no memory of ours.
    let rc = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_SHRINK) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Memory that this process shares with another; unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is plain memory, owned by this value, and valid on every thread.
unsafe impl Send for Mapping {}
// SAFETY: `&Mapping` gives out only the address.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of a file, for reading and writing.
    pub fn new(file: &File, len: usize) -> io::Result<Mapping> {
        // SAFETY: a fresh address is asked for, so no mapping that exists is touched.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Mapping { start, len })
    }

    /// Maps `len` bytes instead; the file must have become that long. The address may change, which
    /// `&mut self` makes sure nobody minds.
    pub fn grow(&mut self, len: usize) -> io::Result<()> {
        // SAFETY: `start` and `len` are this value's own mapping, and nobody holds a pointer into it.
        let address =
            unsafe { libc::mremap(self.start.as_ptr().cast(), self.len, len, libc::MREMAP_MAYMOVE) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        self.start = NonNull::new(address.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        self.len = len;
        Ok(())
    }

    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub fn len(&self) -> usize {
        self.len
    }

    /// Copies `bytes` to `offset`. The range must lie inside.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(
            offset.checked_add(bytes.len()).is_some_and(|end| end <= self.len),
            "{} bytes at {offset} do not fit into a region of {}",
            bytes.len(),
            self.len
        );
        // SAFETY: the range lies inside the mapping (checked above), and `bytes` is not part of it,
        // because `&mut self` is the only access to it in this process.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(offset), bytes.len());
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are this value's own mapping; whoever reads it owns a share of it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

/// Most descriptors that one frame brings along.
pub const MAX_FDS: usize = 8;

/// Sends bytes, at least one, and descriptors with the first of them. Gives how many bytes went.
pub fn send_with_fds(socket: &UnixStream, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    assert!(!bytes.is_empty() && fds.len() <= MAX_FDS);
    let slices = [IoSlice::new(bytes)];
    // u64s, because the header in it must be aligned.
    let mut control = [0u64; 16];
    let payload = std::mem::size_of_val(fds);
    // SAFETY: an all-zero msghdr is a valid one.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = 1;
    if !fds.is_empty() {
        message.msg_control = control.as_mut_ptr().cast();
        // SAFETY: arithmetic only. 8 descriptors need 48 of the buffer's 128 bytes.
        message.msg_controllen = unsafe { libc::CMSG_SPACE(payload as u32) } as _;
        // SAFETY: msg_control and msg_controllen describe `control`, so the first header exists, and
        // its data has room for `payload` bytes.
        unsafe {
            let header = libc::CMSG_FIRSTHDR(&message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(payload as u32) as _;
            let mut data = libc::CMSG_DATA(header).cast::<RawFd>();
            for fd in fds {
                data.write_unaligned(fd.as_raw_fd());
                data = data.add(1);
            }
        }
    }
    loop {
        // SAFETY: `message` points at `slices` and `control`, which outlive the call.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &message, libc::MSG_NOSIGNAL) };
        if sent >= 0 {
            return Ok(sent as usize);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// What a socket is ready for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ready {
    Read,
    Write,
}

/// Waits until the socket is ready, closed by the other side, or the time is over: then false.
pub fn wait_for(socket: &UnixStream, what: Ready, time: Duration) -> io::Result<bool> {
    let events = match what {
        Ready::Read => libc::POLLIN,
        Ready::Write => libc::POLLOUT,
    };
    let mut entry = libc::pollfd { fd: socket.as_raw_fd(), events, revents: 0 };
    // Rounded up: a wait of 0 ms in a loop is a busy loop.
    let millis = i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
    // SAFETY: one entry, which outlives the call.
    let rc = unsafe { libc::poll(&mut entry, 1, millis) };
    if rc >= 0 {
        return Ok(rc > 0);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(false) } else { Err(error) }
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(pid: u32, signal: i32) {
    // SAFETY: no memory is involved; a pid that was not waited for is still the child's.
    unsafe { libc::kill(pid as libc::pid_t, signal) };
}

/// The name of a signal, such as SIGSEGV.
pub fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}
