//! Long bytes that are passed on instead of copied.

use std::{fmt, ops::Deref, sync::Arc};

/// Bytes that never change: cheap to clone, whatever their number.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Blob(Arc<Vec<u8>>);

impl Blob {
    /// The bytes as a vector; not copied if nobody else has them.
    pub fn into_vec(self) -> Vec<u8> {
        Arc::try_unwrap(self.0).unwrap_or_else(|shared| shared.to_vec())
    }
}

impl From<Vec<u8>> for Blob {
    /// Moves them; nothing is copied.
    fn from(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }
}

impl Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}
