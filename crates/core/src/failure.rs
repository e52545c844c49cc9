//! A task's own error as a record: its message and the chain of causes, the same on every backend.

use std::{error::Error, fmt};

use serde::{Deserialize, Serialize};

/// Longest chain that is kept. Real chains are a handful long; a bound keeps a hostile one from growing without end.
const MAX_CAUSES: usize = 64;

/// The error that a task returned: the outermost message, then the causes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
#[non_exhaustive]
pub struct Failure {
    /// The outermost message.
    pub message: String,
    /// What caused it, if it was caused by something: the head of a chain.
    pub cause: Option<Box<Cause>>,
}

/// One link in a [`Failure`]'s chain of causes; also an [`Error`] whose source is the next link.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cause {
    /// The message of this link.
    pub message: String,
    /// The next link.
    pub cause: Option<Box<Cause>>,
}

impl Failure {
    /// A failure with one message and no cause.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), cause: None }
    }

    /// Copies the messages of an error and of all its sources.
    pub fn from_error(error: &(dyn Error + 'static)) -> Self {
        let mut messages = vec![error.to_string()];
        let mut next = error.source();
        while let Some(cause) = next.filter(|_| messages.len() < MAX_CAUSES) {
            messages.push(cause.to_string());
            next = cause.source();
        }
        messages.into()
    }

    /// The messages of the causes, outermost first, without the failure's own.
    pub fn causes(&self) -> impl Iterator<Item = &str> {
        std::iter::successors(self.cause.as_deref(), |c| c.cause.as_deref()).map(|c| c.message.as_str())
    }

    pub(crate) fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<Vec<String>> for Failure {
    fn from(mut messages: Vec<String>) -> Self {
        messages.truncate(MAX_CAUSES);
        let mut messages = messages.into_iter();
        let message = messages.next().unwrap_or_default();
        let cause = messages.rev().fold(None, |cause, message| Some(Box::new(Cause { message, cause })));
        Self { message, cause }
    }
}

impl From<Failure> for Vec<String> {
    fn from(failure: Failure) -> Self {
        std::iter::once(failure.message.clone()).chain(failure.causes().map(str::to_owned)).collect()
    }
}

/// Errors that a `#[task]` function may return: anyhow's, every `std::error::Error`, `String`, `&str`, boxed errors.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a task's error",
    label = "not an error type",
    note = "implement `std::error::Error + Send + Sync` for it, or return `anyhow::Result`, or a `String`"
)]
pub trait IntoFailure {
    /// Copies message and causes.
    fn into_failure(self) -> Failure;
}

#[diagnostic::do_not_recommend]
impl<E: Into<Box<dyn Error + Send + Sync>>> IntoFailure for E {
    fn into_failure(self) -> Failure {
        let boxed: Box<dyn Error + Send + Sync> = self.into();
        Failure::from_error(&*boxed)
    }
}
