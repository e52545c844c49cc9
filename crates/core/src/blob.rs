//! Bytes that are passed on instead of copied.
//!
//! Within a process a blob is shared. Beyond it a backend may share it too: it keeps what it has made of the bytes with the
//! blob, so that they are written once however often they are sent, and gives the other side a blob over memory of its own.
//!
//! serde knows bytes but no blobs. So a blob shows itself beside its bytes, for the time of one call: the codec that finds
//! the same bytes in both takes the blob.

use std::{
    any::Any,
    cell::RefCell,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{SeqAccess, Visitor},
};

/// Immutable bytes that are cheap to clone and cheap to pass to tasks, whatever their number.
///
/// A task that takes a blob, in an argument or deep inside of one, gets the same bytes without a copy: always in this
/// process, and in worker processes from 1 MiB on, where they are written to shared memory once however many tasks they
/// are passed to. The memory is freed with the last clone in any process. A task that gives a blob back that it was given
/// gives the same one back.
///
/// ```
/// use taskloom_core::{Blob, inline, task};
///
/// #[task]
/// fn count(text: Blob, byte: u8) -> usize {
///     text.iter().filter(|&&other| other == byte).count()
/// }
///
/// let text = Blob::from(b"one text for all tasks".to_vec());
/// let pool = inline::pool().build()?;
/// let counts = pool.map((b'a'..=b'e').map(|byte| count::task(text.clone(), byte)));
/// assert_eq!(counts.collect::<Result<Vec<_>, _>>()?, [2, 0, 0, 0, 2]);
/// # Ok::<(), taskloom_core::TaskError>(())
/// ```
#[derive(Clone)]
pub struct Blob(Arc<Inner>);

struct Inner {
    memory: Memory,
    /// Its owner made it a blob; else it is the body of something else, and has one reader.
    is_shared: bool,
    /// What a backend has made of it.
    made: OnceLock<Box<dyn Any + Send + Sync>>,
    making: Mutex<()>,
}

enum Memory {
    Own(Vec<u8>),
    Foreign(Box<dyn Foreign>),
    /// Not to be had, and why.
    Missing(String),
}

/// Memory that a backend provides, and knows again.
trait Foreign: Any + AsRef<[u8]> + Send + Sync {}
impl<M: Any + AsRef<[u8]> + Send + Sync> Foreign for M {}

impl Blob {
    fn new(memory: Memory, is_shared: bool) -> Self {
        Self(Arc::new(Inner { memory, is_shared, made: OnceLock::new(), making: Mutex::default() }))
    }

    /// The bytes of something that is no blob, on their way.
    pub(crate) fn of_one(bytes: Vec<u8>) -> Self {
        Self::new(Memory::Own(bytes), false)
    }

    /// The bytes as a vector; not copied if nobody else has them.
    pub fn into_vec(self) -> Vec<u8> {
        match Arc::try_unwrap(self.0) {
            Ok(Inner { memory: Memory::Own(bytes), .. }) => bytes,
            Ok(inner) => inner.memory.bytes().to_vec(),
            Err(shared) => shared.memory.bytes().to_vec(),
        }
    }

    /// Whether [`into_vec`](Self::into_vec) would copy.
    pub(crate) fn is_held_elsewhere(&self) -> bool {
        Arc::strong_count(&self.0) > 1 || matches!(self.0.memory, Memory::Foreign(_))
    }

    /// What it costs to keep it in a queue: nothing, if somebody else keeps it too.
    pub(crate) fn weight(&self) -> usize {
        // Here, and in the value that was written.
        if self.0.is_shared && Arc::strong_count(&self.0) > 2 { 0 } else { self.len() }
    }

    pub(crate) fn missing(&self) -> Option<&str> {
        match &self.0.memory {
            Memory::Missing(why) => Some(why),
            _ => None,
        }
    }
}

/// For writers of backends that share blobs.
impl Blob {
    /// A blob over memory that somebody else filled, and nobody changes.
    pub fn over<M: AsRef<[u8]> + Send + Sync + 'static>(memory: M) -> Self {
        Self::new(Memory::Foreign(Box::new(memory)), true)
    }

    /// In place of a blob that is not to be had. Who reads it gets this as an error.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(Memory::Missing(why.into()), true)
    }

    /// The memory that it is [`over`](Self::over), if it is of this kind.
    pub fn memory<M: 'static>(&self) -> Option<&M> {
        match &self.0.memory {
            Memory::Foreign(memory) => (&**memory as &dyn Any).downcast_ref(),
            _ => None,
        }
    }

    /// Whether its owner made it a blob. Other bodies are read once, and sharing them would gain nothing.
    pub fn is_shared(&self) -> bool {
        self.0.is_shared
    }

    /// What [`make_once`](Self::make_once) has made of it.
    pub fn made<T: 'static>(&self) -> Option<&T> {
        self.0.made.get()?.downcast_ref()
    }

    /// Makes something of the bytes that is kept as long as the blob, unless that has been done before. If it cannot be
    /// made now, somebody may try again.
    pub fn make_once<T: Send + Sync + 'static>(&self, make: impl FnOnce(&[u8]) -> Option<T>) -> Option<&T> {
        if self.0.made.get().is_none() {
            let _making = self.0.making.lock().unwrap_or_else(PoisonError::into_inner);
            if self.0.made.get().is_none() {
                // Nobody else sets it meanwhile.
                let _ = self.0.made.set(Box::new(make(self)?));
            }
        }
        self.made()
    }
}

impl Memory {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Foreign(memory) => (**memory).as_ref(),
            Self::Missing(_) => &[],
        }
    }
}

impl From<Vec<u8>> for Blob {
    /// Moves them; nothing is copied.
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(Memory::Own(bytes), true)
    }
}

impl Default for Blob {
    fn default() -> Self {
        Vec::new().into()
    }
}

impl Deref for Blob {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.0.memory.bytes()
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl Eq for Blob {}

impl fmt::Debug for Blob {
    /// Their number only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}

thread_local! {
    /// The blob whose bytes are being given to a serializer, or to a visitor.
    static SHOWN: RefCell<Option<Blob>> = const { RefCell::new(None) };
}

/// Takes the blob away again, also if somebody panics.
struct Shown;

impl Shown {
    fn new(blob: &Blob) -> Self {
        SHOWN.set(Some(blob.clone()));
        Self
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        SHOWN.take();
    }
}

/// The blob that shows itself with these bytes.
pub(crate) fn shown(bytes: &[u8]) -> Option<Blob> {
    SHOWN.with_borrow_mut(|shown| shown.take_if(|blob| std::ptr::eq::<[u8]>(&**blob, bytes)))
}

/// Gives a blob's bytes to a visitor, which may take the blob.
pub(crate) fn show<'de, V: Visitor<'de>, E: serde::de::Error>(blob: &Blob, visitor: V) -> Result<V::Value, E> {
    let _shown = Shown::new(blob);
    visitor.visit_bytes(blob)
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let _shown = Shown::new(self);
        serializer.serialize_bytes(self)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl<'de> Visitor<'de> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(shown(bytes).unwrap_or_else(|| bytes.to_vec().into()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
                Ok(bytes.into())
            }
            // As formats without bytes have them.
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Blob, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = elements.next_element()? {
                    bytes.push(byte);
                }
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::atomic::Ordering};

    use super::*;
    use crate::{Data, Encoded, Payload, Policy, Postcard, Retry, TaskError, inline, task};

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum Deep {
        Nothing,
        One { name: String, blob: Blob },
        Many(BTreeMap<u8, Option<Vec<Blob>>>),
    }

    fn blob(byte: u8, length: usize) -> Blob {
        vec![byte; length].into()
    }

    fn pass<T: Data>(value: T, mut out: Payload) -> T {
        value.encode::<Postcard>(&mut out).expect("writable");
        value.hand_over(&mut out);
        let (bytes, bodies) = out.into_parts();
        T::decode::<Postcard>(&mut Encoded::new(&bytes, bodies)).expect("readable")
    }

    #[test]
    fn long_blobs_are_passed_at_any_depth_and_short_ones_are_copied() {
        let (long, short) = (blob(1, 100_000), blob(2, 100));
        for out in [Payload::with_bodies, Payload::with_copies] {
            let many = BTreeMap::from([(1, None), (2, Some(vec![long.clone(), short.clone()]))]);
            let deep = vec![Deep::Nothing, Deep::One { name: "a".into(), blob: long.clone() }, Deep::Many(many)];
            let back = pass(deep.clone(), out());
            assert_eq!(back, deep);
            let Deep::One { blob, .. } = &back[1] else { panic!("{back:?}") };
            assert_eq!(blob.as_ptr(), long.as_ptr());
            let Deep::Many(many) = &back[2] else { panic!("{back:?}") };
            let inner = many[&2].as_ref().unwrap();
            assert_eq!(inner[0].as_ptr(), long.as_ptr());
            assert_ne!(inner[1].as_ptr(), short.as_ptr());
        }
        // Beside long bytes that are none, and as plain bytes.
        let (bytes, same) = pass((vec![7_u8; 50_000], long.clone()), Payload::with_bodies());
        assert_eq!((bytes.len(), same.as_ptr()), (50_000, long.as_ptr()));
        let copied = pass(long.clone(), Payload::new());
        assert_eq!((&copied, copied.as_ptr() == long.as_ptr()), (&long, false));
    }

    #[test]
    fn a_blob_shows_itself_to_nobody_else() {
        let (one, other) = (blob(3, 50_000), vec![3; 50_000]);
        let shown_with_one = Shown::new(&one);
        assert_eq!(shown(&other), None, "equal bytes elsewhere");
        assert_eq!(shown(&one[..49_999]), None, "a part of them");
        assert!(shown(&one).is_some_and(|same| same.as_ptr() == one.as_ptr()));
        drop(shown_with_one);
        assert_eq!(shown(&one), None, "it was shown to somebody");
        // One that is written by nobody who knows blobs is not shown afterwards.
        serde_json::to_string(&blob(1, 10)).unwrap();
        assert!(SHOWN.take().is_none());
    }

    #[test]
    fn json_has_the_bytes_and_debug_has_not() {
        let blob = blob(7, 3);
        assert_eq!(serde_json::to_string(&blob).unwrap(), "[7,7,7]");
        assert_eq!(serde_json::from_str::<Blob>("[7,7,7]").unwrap(), blob);
        assert!(serde_json::from_str::<Blob>("[7,256]").is_err());
        assert_eq!(format!("{blob:?}"), "Blob(3 bytes)");
    }

    #[test]
    fn what_is_missing_is_an_error_that_says_why() {
        let mut out = Payload::with_bodies();
        blob(1, 50_000).encode::<Postcard>(&mut out).expect("writable");
        let (bytes, _) = out.into_parts();
        let mut from = Encoded::new(&bytes, vec![Blob::unavailable("it is gone")]);
        let fault = Blob::decode::<Postcard>(&mut from).expect_err("must not be read");
        assert!(fault.to_string().contains("it is gone"), "{fault}");
    }

    #[test]
    fn what_is_made_of_it_is_made_once_and_freed_with_it() {
        static MADE: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        struct Made;
        impl Drop for Made {
            fn drop(&mut self) {
                MADE.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let make = |_: &[u8]| {
            MADE.fetch_add(1, Ordering::Relaxed);
            Some(Made)
        };
        let one = blob(1, 10);
        assert!(one.made::<Made>().is_none());
        assert!(one.make_once::<Made>(|_| None).is_none(), "not now");
        let other = one.clone();
        assert!(one.make_once(make).is_some() && other.make_once(make).is_some());
        drop(one);
        assert_eq!(MADE.load(Ordering::Relaxed), 1);
        drop(other);
        assert_eq!(MADE.load(Ordering::Relaxed), 0);
    }

    #[task]
    fn address(cx: &crate::Context, blob: Blob) -> Result<usize, String> {
        if cx.attempt() == 2 { Ok(blob.as_ptr() as usize) } else { Err("again".to_owned()) }
    }

    #[test]
    fn an_attempt_after_the_first_has_the_same_blob() -> Result<(), TaskError> {
        let pool = inline::pool().build()?;
        let view = pool.with(Policy::new().retry(Retry::any(2)));
        let blob = blob(1, 1 << 20);
        assert_eq!(view.submit(address::task(blob.clone()))?.join()?, blob.as_ptr() as usize);
        Ok(())
    }
}
