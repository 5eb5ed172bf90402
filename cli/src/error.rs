//! What can end a command: the one message a person sees, and the exit code.

use std::error::Error;
use std::io;

/// The end of a command that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// A statement failed, or its result could not be written.
    #[error("{0}")]
    Query(String),
    /// The command line itself is wrong.
    #[error("{0}")]
    Usage(String),
    /// The person pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
    /// The reader of our output has gone (`| head`): there is nothing left to do, and nothing to say.
    #[error("the reader of the output has gone")]
    BrokenPipe,
}

impl CliError {
    /// The exit code of the process: 1 for a failed query, 2 for wrong usage, 130 after Ctrl-C as
    /// shells have it, 0 when the reader had seen enough.
    pub fn exit_code(&self) -> i32 {
        match self {
            CliError::Query(_) => 1,
            CliError::Usage(_) => 2,
            CliError::Interrupted => 130,
            CliError::BrokenPipe => 0,
        }
    }

    /// An error met while writing a result to `destination` (a path, or "standard output").
    /// Writers of other crates wrap the operating system's error, so the chain of causes is searched.
    pub fn writing(destination: &str, error: &(dyn Error + 'static)) -> CliError {
        let mut cause = Some(error);
        while let Some(e) = cause {
            if let Some(io) = e.downcast_ref::<io::Error>() {
                if io.kind() == io::ErrorKind::BrokenPipe {
                    return CliError::BrokenPipe;
                }
                return CliError::Query(format!("cannot write {destination}: {io}"));
            }
            cause = e.source();
        }
        CliError::Query(format!("cannot write {destination}: {error}"))
    }
}

impl From<fuseline::Error> for CliError {
    fn from(error: fuseline::Error) -> CliError {
        CliError::Query(error.to_string())
    }
}
