//! Blobs that workers look at where they are, instead of getting a copy.
//!
//! ```text
//! parent: Blob ──filled once──▶ sealed memory ──stand-in──▶ worker: the memory mapped ──▶ Blob
//!         the same Blob        ◀───────────────stand-in─── worker: a result that is one of its arguments' blobs
//! ```
//!
//! A *stand-in* takes a blob's place among the bodies of a message, and says where its memory is. It is too short for a
//! body, so that it is told from one. The parent keeps the memory as long as the blob, and a task's arguments keep the
//! blob until the task is over. It takes nothing from a worker but the name of a blob that it has given to it.
//!
//! To find and to map memory takes ten times as long as to pass a small task on. So a worker keeps what it has mapped, and
//! the next task that comes with the blob finds it there, until the parent says that the blob is gone.
//!
//! Whatever fails on the parent's side (no descriptor, no memory, no `/proc` for workers) costs a copy and nothing else.

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use taskloom_core::Blob;

use crate::{
    line::Line,
    os::{
        self,
        forked::Original,
        shared::{self, MOST_STRIPES, Mapped, Place, Sealed, Stripe},
    },
};

/// From so many bytes on a blob has memory of its own.
const LEAST: usize = 1 << 20;

/// How long a stand-in is, for each stripe of the memory.
const STAND_IN: usize = 24;

/// Workers cannot reach this process's memory.
static IMPOSSIBLE: AtomicBool = AtomicBool::new(false);

/// A worker has reached it.
static POSSIBLE: AtomicBool = AtomicBool::new(false);

/// What all blobs of this process take.
static BYTES: AtomicU64 = AtomicU64::new(0);
static DESCRIPTORS: AtomicU64 = AtomicU64::new(0);

/// What they may take: the rest is for those who work with them.
static MOST_BYTES: LazyLock<u64> = LazyLock::new(|| os::files::machine_memory() / 2);
const DESCRIPTORS_IN: u64 = 4;

/// The memory of a blob.
struct Share {
    memory: Sealed<Arc<Known>>,
    known: Arc<Known>,
}

/// Who knows of the memory. Dropped when it has been freed here.
#[derive(Debug)]
struct Known {
    /// Workers that have been given it, and keep it.
    kept: Mutex<Vec<Weak<Line>>>,
    stand_in: OnceLock<Blob>,
    original: Original,
    _budget: Budget,
}

impl Share {
    fn made_of(bytes: &[u8]) -> Option<Self> {
        let budget = Budget::take(bytes.len())?;
        let (kept, stand_in) = (Mutex::default(), OnceLock::new());
        let known = Arc::new(Known { kept, stand_in, original: Original::new().ok()?, _budget: budget });
        let memory = Sealed::filled(bytes, known.clone()).ok()?;
        known.stand_in.get_or_init(|| write(memory.place()));
        Some(Self { memory, known })
    }

    fn is_kept_by(&self, line: &Arc<Line>) {
        // Nothing panics while it holds this lock.
        let mut kept = self.known.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.iter().any(|known| std::ptr::eq(known.as_ptr(), &raw const **line)) {
            kept.retain(|known| known.strong_count() > 0);
            kept.push(Arc::downgrade(line));
        }
    }
}

impl Drop for Known {
    /// Whoever is told now cannot find the memory again, even if a message that speaks of it has not been read.
    fn drop(&mut self) {
        let kept = std::mem::take(self.kept.get_mut().unwrap_or_else(PoisonError::into_inner));
        // Workers are none of a forked copy's.
        if let Some(stand_in) = self.stand_in.get().filter(|_| self.original.is_here()) {
            kept.iter().filter_map(Weak::upgrade).for_each(|line| line.forget(stand_in.to_vec()));
        }
    }
}

#[derive(Debug)]
struct Budget {
    bytes: u64,
    descriptors: u64,
}

impl Budget {
    fn take(bytes: usize) -> Option<Self> {
        let most = os::files::descriptor_limit().map_or(u64::MAX, |limit| limit / DESCRIPTORS_IN);
        // Given back by its drop, also if it was too much.
        let budget = Self { bytes: bytes as u64, descriptors: shared::stripes(bytes) as u64 };
        let Self { bytes, descriptors } = budget;
        let before = (BYTES.fetch_add(bytes, Ordering::Relaxed), DESCRIPTORS.fetch_add(descriptors, Ordering::Relaxed));
        (before.0.saturating_add(bytes) <= *MOST_BYTES && before.1.saturating_add(descriptors) <= most)
            .then_some(budget)
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
        DESCRIPTORS.fetch_sub(self.descriptors, Ordering::Relaxed);
    }
}

/// What a body costs to send.
pub(crate) fn cost(body: &Blob) -> usize {
    // The first time it has yet to be written.
    match body.made::<Share>() {
        Some(share) if is_passed(body) => STAND_IN * share.memory.place().stripes.len(),
        _ => body.len(),
    }
}

/// The stand-in for a body, if it is not to be copied to a worker; which perhaps keeps what it is given.
pub(crate) fn stand_in(body: &Blob, keeps: Option<&Arc<Line>>) -> Option<Blob> {
    if !is_passed(body) {
        return None;
    }
    let share = body.make_once(Share::made_of)?;
    if let Some(line) = keeps {
        share.is_kept_by(line);
    }
    share.known.stand_in.get().cloned()
}

pub(crate) fn is_passed(body: &Blob) -> bool {
    body.is_shared() && body.len() >= LEAST && !IMPOSSIBLE.load(Ordering::Relaxed)
}

/// Memory that several blobs lie in, one for each message that speaks of it.
#[derive(Debug, Clone)]
struct Held(Arc<Mapped>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

/// In a worker: what it has mapped and keeps, the newest last.
static KEPT: Mutex<VecDeque<Held>> = Mutex::new(VecDeque::new());

/// Most blobs that a worker keeps: each takes a few mappings, of which a process has some ten thousand.
const MOST_KEPT: usize = 64;

fn kept() -> MutexGuard<'static, VecDeque<Held>> {
    // Nothing panics while it holds this lock.
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a worker: the blob for a stand-in, or for what cannot be found an error for whoever reads it.
pub(crate) fn found(body: &Blob) -> Option<Blob> {
    let place = read(body, parent())?;
    let mut kept = kept();
    if let Some(same) = kept.iter().find(|held| *held.0.place() == place) {
        return Some(Blob::over(same.clone()));
    }
    let held = match Mapped::at(place) {
        Ok(memory) => Held(Arc::new(memory)),
        Err(error) => return Some(Blob::unavailable(format!("its shared memory cannot be used: {error}"))),
    };
    let oldest = if kept.len() == MOST_KEPT { kept.pop_front() } else { None };
    kept.push_back(held.clone());
    drop(kept);
    // It is unmapped without the lock.
    drop(oldest);
    Some(Blob::over(held))
}

/// In a worker: the parent has no use for this blob any more. Tasks that still have it keep it.
pub(crate) fn forget(stand_in: Vec<u8>) {
    let Some(place) = read(&stand_in.into(), parent()) else { return };
    let mut kept = kept();
    let gone = kept.iter().position(|held| *held.0.place() == place).and_then(|at| kept.remove(at));
    drop(kept);
    drop(gone);
}

fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

/// In a worker: which memory the arguments of a task are in.
pub(crate) fn given<'b>(bodies: impl Iterator<Item = &'b Blob>) -> Vec<Place> {
    bodies.filter_map(|body| body.memory::<Held>().map(|held| held.0.place().clone())).collect()
}

/// In a worker: the stand-in for a result's body that is one of the arguments'.
pub(crate) fn returned(body: &Blob, given: &[Place]) -> Option<Blob> {
    let place = body.memory::<Held>()?.0.place();
    given.contains(place).then(|| write(place))
}

/// In the parent: the blob that a worker's stand-in names, among the arguments of the task.
pub(crate) fn same<'b>(body: &Blob, mut given: impl Iterator<Item = &'b Blob>) -> Option<Blob> {
    let place = read(body, std::process::id())?;
    let is_it = |blob: &&Blob| blob.made::<Share>().is_some_and(|share| *share.memory.place() == place);
    Some(given.find(is_it).cloned().unwrap_or_else(|| Blob::unavailable("it was never given to its task")))
}

fn write(place: &Place) -> Blob {
    let mut bytes = Vec::with_capacity(STAND_IN * place.stripes.len());
    for Stripe { fd, inode, length } in &place.stripes {
        [*inode, *length, u64::from(*fd)].iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    }
    bytes.into()
}

fn read(body: &Blob, pid: u32) -> Option<Place> {
    let (stripes, []) = body.as_chunks::<STAND_IN>() else { return None };
    if !(1..=MOST_STRIPES).contains(&stripes.len()) {
        return None;
    }
    let stripe = |bytes: &[u8; STAND_IN]| {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default());
        Stripe { inode: number(0), length: number(8), fd: u32::try_from(number(16)).unwrap_or(u32::MAX) }
    };
    Some(Place { pid, stripes: stripes.iter().map(stripe).collect() })
}

/// Memory by which a worker finds out whether it can be given any.
pub(crate) struct Probe(Sealed);

impl Probe {
    pub(crate) fn new() -> io::Result<Self> {
        Sealed::filled(b"?", ()).map(Self)
    }

    pub(crate) fn numbers(&self) -> [u64; 2] {
        let stripe = &self.0.place().stripes[0];
        [stripe.fd.into(), stripe.inode]
    }
}

/// In a worker: why memory cannot be had from the parent, if it cannot.
pub(crate) fn probe([fd, inode]: [u64; 2]) -> Option<String> {
    let fd = u32::try_from(fd).unwrap_or(u32::MAX);
    Mapped::at(Place { pid: parent(), stripes: vec![Stripe { fd, inode, length: 1 }] })
        .err()
        .map(|error| error.to_string())
}

/// Whether no worker has said yet whether it can be given memory.
pub(crate) fn is_unknown() -> bool {
    !(POSSIBLE.load(Ordering::Relaxed) || IMPOSSIBLE.load(Ordering::Relaxed))
}

/// A worker has found that it can be given memory.
pub(crate) fn is_possible() {
    POSSIBLE.store(true, Ordering::Relaxed);
}

/// A worker has found that it cannot be given memory: from now on blobs are copied.
pub(crate) fn is_impossible(why: &str) {
    if !IMPOSSIBLE.swap(true, Ordering::Relaxed) {
        log::warn!(target: "taskloom", "worker processes cannot look at this process's memory, so blobs are copied: {why}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(byte: u8, length: usize) -> Blob {
        vec![byte; length].into()
    }

    /// One test, for it ends with what holds for the whole process.
    #[test]
    fn a_stand_in_means_one_blob_and_nobody_elses() {
        let [one, other] = [blob(1, LEAST), blob(2, LEAST)];
        assert_eq!(cost(&one), LEAST, "it has yet to be written");
        let mark = stand_in(&one, None).unwrap();
        assert_eq!((mark.len(), cost(&one)), (STAND_IN, STAND_IN));
        assert_eq!(stand_in(&one, None).unwrap(), mark, "it is written once");
        stand_in(&other, None).unwrap();
        let given = [blob(3, 10), other.clone(), one.clone()];
        assert_eq!(same(&mark, given.iter()).unwrap().as_ptr(), one.as_ptr());

        // One of another task, and numbers that nobody has.
        for (mark, given) in
            [(&mark, &given[..2]), (&blob(7, STAND_IN), &given[..]), (&blob(255, STAND_IN), &given[..])]
        {
            let found = same(mark, given.iter()).unwrap();
            assert!(found.is_empty() && found.memory::<Held>().is_none(), "{found:?}");
        }
        for length in [0, 16, 23, 25, 32, 1 << 15] {
            assert!(same(&blob(7, length), given.iter()).is_none(), "{length} bytes are a body");
        }

        // Too small, and no blob's.
        assert!(stand_in(&blob(1, LEAST - 1), None).is_none());
        assert!(found(&blob(7, STAND_IN)).unwrap().is_empty(), "there is no such memory");

        is_impossible("for a test");
        assert_eq!((stand_in(&one, None), cost(&one)), (None, LEAST));
    }

    #[test]
    fn a_worker_finds_out_whether_it_can_be_given_memory() {
        let sealed = Sealed::filled(b"?", ()).unwrap();
        let place = sealed.place().clone();
        // This process's parent has no such memory.
        assert!(probe([place.stripes[0].fd.into(), place.stripes[0].inode]).is_some());
        assert!(probe([u64::MAX, 0]).is_some());
        assert_eq!(Mapped::at(place).unwrap().as_ref(), b"?");
    }
}
