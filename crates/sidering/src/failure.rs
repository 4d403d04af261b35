//! How a command ends when it does not end well: one line for the operator and an exit code that scripts can tell
//! apart.

use std::process::ExitCode;

/// Each variant is an exit code; the text says what to do about it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// 1: it ran, and the answer is no.
    #[error("{0}")]
    Findings(String),
    /// 2: what the operator wrote cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// 3: nobody answers on the admin socket.
    #[error("{0}")]
    Unreachable(String),
    /// 4: this machine does not offer what was asked for.
    #[error("{0}")]
    Environment(String),
    /// 124: `wait` waited long enough.
    #[error("{0}")]
    TimedOut(String),
}

impl Failure {
    /// The process's exit code.
    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Findings(_) => 1,
            Self::Configuration(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Environment(_) => 4,
            Self::TimedOut(_) => 124,
        })
    }
}
